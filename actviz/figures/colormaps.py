"""The colormaps that figures have by default: matplotlib's own tables, which a test compares.

Each is 256 colors of three bytes in base64. All of them are distinct, so that a color
tells its step; the maps are perceptually uniform or nearly so, and safe for color-blind
readers. Only other maps need matplotlib, which takes a fifth of a second to import.
"""

from __future__ import annotations

SHIPPED = {
    "inferno": (
        "AAADAAAEAAAGAQAHAQEJAQELAgEOAgIQAwISBAMUBAMWBQQYBgQbBwUdCAYfCQYhCgcjCwcmDQgo"
        "DggqDwktEAkvEgoyEwo0FAs2Fgs5Fws7GQs+GgtAHAxDHQxFHwxHIAxKIgtMJAtOJgtQJwtSKQtU"
        "KwpWLQpYLgpaMApcMgldNAlfNQlgNwlhOQliOwlkPAllPglmQAlmQQlnQwpoRQppRgppSAtqSgtq"
        "SwxrTQxrTw1sUA1sUg5sUw5tVQ9tVw9tWBBtWhFtWxFuXRJuXxJuYBNuYhRuYxRuZRVuZhVuaBZu"
        "ahduaxdubRhubhhucBluchltcxptdRttdhtteBxtehxtex1sfR1sfh5sgB9rgR9rgyBrhSBqhiFq"
        "iCFqiSJpiyJpjSNpjiRokCRokSVnkyVnlSZmliZmmCdlmShkmyhknCljniljoCpioSthoythpCxg"
        "pixfpy1fqS5eqy5drC9crjBbrzFbsTFasjJZtDNYtTNXtzRWuDVWujZVuzdUvTdTvjhSvzlRwTpQ"
        "wjtPxDxOxT1Nxz5MyD5LyT9Ky0BJzEFIzUJHz0RG0EVE0UZD0kdC1EhB1UlA1ko/10s+2U092k47"
        "20863FA53VI43lM331Q24FY04lcz41gy5Fox5Vsw5lwu5l4t518s6GEr6WIq6mQo62Un7Gcm7Wgl"
        "7Woj7mwi720h8G8f8HAe8XId8nQc8nUa83cZ83kY9HoW9XwV9X4U9oAS9oER94MQ94UO+IcN+IgM"
        "+IoL+YwJ+Y4I+ZAI+pEH+pMG+pUG+pcG+5kG+5sG+50G+54H+6AH+6II+6QK+6YL+6gN+6oO+6wQ"
        "+64S+7AU+7EW+7MY+7Ua+7cc+7ke+rsh+r0j+r8l+sEo+cMq+cUs+ccv+Mkx+Ms0+M03988699E8"
        "9tM/9tVC9ddF9dlI9NtL9NxP895S8+BW8+JZ8uRd8uZg8ehk8elo8ets8e1w8e508fB58fJ98vOB"
        "8vSF8/aJ9PeN9fiR9vqV9/uZ+fyd+v2g/P6k"
    ),
    "RdBu_r": (
        "BTBhBjJjBzRmCDZpCThsCjpvCzxyDD51DUB4DkN7D0V+EUeBEkmEE0uHFE2KFU+NFlGQF1STGFaV"
        "GViYGlqbHFyeHV6hHmCkH2KnIGSqIWasI2itJGquJWyvJ22wKG+wKXGxK3OyLHWzLXa0L3i1MHq2"
        "MXy3M324NH+5NYG5N4O6OIS7OYa8O4i9PIq+PYu/P43AQI/BQZHCQ5PDRpTESZbFTJjGT5rHUpzI"
        "VZ7JWKDKW6LLXqTMYabNZajOaKrPa6zQbq7RcbDSdLLTd7TVerbWfbjXgLrYhLzZh77aisDbjcLc"
        "kMTdk8XelcbfmMjfmsngncrhn8vhos3ipM7jp8/kqdDkq9LlrtPmsNTms9XntdfouNjoutnpvdrq"
        "v9zrwt3rxN7sx9/tyeHtzOLuzuPv0eXw0uXw0+bw1efw1ufx2Ojx2enx2+nx3Ory3uvy3+zy4ezz"
        "4u3z5O7z5e7z5+/06PD06vH06/H07fL17vP18PP18fT28/X29PX29vb29/b29/X09/Ty9/Pw+PLu"
        "+PDs+O/q+O7o+e3n+ezl+evj+erh+enf+ujd+ufb+uXZ+uTX++PW++LU++HS++DQ/N/O/N7M/N3K"
        "/NzI/dvH/NjE/NbB+9S++9K8+9C5+s62+sy0+sqx+ceu+cWr+cOp+MGm+L+j+L2h97ue97mb97eZ"
        "9rSW9rKT9bCQ9a6O9ayL9KqI9KiG9KaD86OA8qB+8Z5875t67ph47ZZ27JN065By6o5w6Itu54hs"
        "5oVq5YNo5IBl4n1j4Xth4Hhf33Vd3nJb3XBZ221X2mpV2WhT2GVR12JP1mBN1F1L01pK0VdJ0FRH"
        "zlFGzU9FzExDyklCyUZBx0M/xkA+xT48wzs7wjg6wDU4vzI3vjA2vC00uyozuScyuCQxtiEvtR8u"
        "tBwtshkrsBcqrRYqqhUppxQppBMooRIonhEnmxAnmRAnlg8mkw4mkA0ljQwligskhwokhAkjgQgj"
        "fgciewYieAUhdQQhcgMgbwIgbAEfaQAfZwAf"
    ),
    "berlin": (
        "nq/+nK/9ma/8l6/7la76kq75kK74jq73i632ia31h630hK3ygqzxf6zwfazve6vueKvtdqrrc6rq"
        "canpbqnnbKjmaajkZ6fjZKbhYqbgX6XeXaTcWqPaWKLZVaHXU6DVUZ/TTp7RTJzOSpvMSJnKRpjI"
        "RJbFQpXDQJPAP5G+PZC7PI65Ooy2OYq0N4mxNoevNYWsNIOqM4GnMn+lMX2jMHygL3qeLnibLnaZ"
        "LXSWLHKUK3CRKm6PKm2NKWuKKGmIJ2eFJ2WDJmOBJWJ+JWB8JF56I1x3I1p1IllzIVdwIFVuIFNs"
        "H1FpHlBnHk5lHUxjHUpgHEleG0dcG0VaGkRXGUJVGUBTGD5RFz1PFztMFjlKFjhIFTZGFTVEFDNC"
        "FDFAEzA+Ey48Ei05Eis3Eio1ESgzEScxESUvECQuECIsECEqEB8oEB4mEB0kEBwiEBohEBkfEBgd"
        "EBccEBYaEBUZERQXERMWERIVEhETEhASEw8QFA4PFQ4OFg0MFwwLGAwKGQsIGgsHGwsGHAsFHQsE"
        "HgsEHwsDIAsCIQsCIgsCIwwBJAwBJgwBJw0AKA0AKQ0AKg0ALA4ALQ4ALg4ALw4AMQ4AMg8AMw8A"
        "NQ8ANg8AOBAAORAAOhAAPBEAPREAPxEAQBIAQhIAQxMBRRMBRhQBSBQBSRUBSxUCTBYCThYCUBcD"
        "UhgDUxkEVRkFVxoFWRsGWxwHXR0IXx4JYSALYyEMZSINZyMOaSUPayYRbigScCkUcisVdC0Xdi4Y"
        "eTAaezIcfTMefzUggTchgzkjhTsliDwnij4pjEArjkIukEQwkkUylEc0lkk2mEs4mk06nE88nlE/"
        "oFJBolRDpFZFpVhHp1pKqVxMq15OrWBQr2FTsWNVs2VXtWdZt2lcuWteu21gvW9jv3FlwnNnxHVq"
        "xndsyHhuynpxzHxzzn510IB40oJ61IR81oZ/2IiB2oqD3IyG346I4ZCL45KN5ZSP55aS6ZiU65qX"
        "7ZyZ756c8qGe9KOh9qWj+Kel+qmo/Kuq/q2t"
    ),
}
