"""``actviz layers`` for some layers, and without notes."""

import json

import pytest
from click.testing import CliRunner

from actviz.cli.help import command as help_command
from actviz.cli.program import program
from actviz.errors import UsageError

HEADER = """\
digits_cnn.h5: written by Keras 3.15.1
input image: 28 x 28 x 1 float32
images are fed as 0..1 (a guess: nothing in the model says a range; give --preprocess if it is another)
code inside: none

"""


@pytest.fixture
def layers(samples):
    return lambda *words: CliRunner().invoke(program, ["--no-config", "layers", str(samples / "digits_cnn.h5"), *words])


def test_chosen_layers_are_listed(layers):
    ran = layers("-q", "-l", "@Conv2D", "-l", "conv@pre")
    assert (ran.exit_code, ran.output) == (
        0,
        HEADER
        + "index  address            class               output shape  parameters  drawn as\n"
        + "    1  conv               Conv2D              26 x 26 x 32         320  grid\n"
        + "    3  conv_intermediate  Conv2D              11 x 11 x 64      18,496  grid\n"
        + "       conv@pre           Conv2D before relu  26 x 26 x 32           0  grid\n",
    )
    record = json.loads(layers("-l", "scores", "--json").output)
    assert [layer["address"] for layer in record["layers"]] == ["scores"]


def test_an_address_that_matches_nothing_is_a_usage_error(layers, samples):
    ran = layers("-l", "cnov")
    hint = f"did you mean conv? Or list them with: actviz layers {samples / 'digits_cnn.h5'}"
    assert isinstance(ran.exception, UsageError)
    assert (str(ran.exception), ran.output) == (f'no layer "cnov"; {hint}', "")


@pytest.mark.parametrize(
    ("topic", "heading", "end"),
    [
        ("contact", "One channel over many inputs", "The whole page: actviz help figures"),
        ("shards", "Shards", "The whole page: actviz help batches; see also check-and-diff, top."),
        ("checkpoints", "Several checkpoints", "The whole page: actviz help figures; see also formats."),
        ("@pre", "Values before the activation function", "The whole page: actviz help addresses"),
        ("top", "Top: the inputs on which each channel is strongest", "Options of the command: actviz top --help"),
        ("explain", "Explain: which part of an input", "Options of the command: actviz explain --help"),
    ],
)
def test_words_lead_to_the_section_about_them(topic, heading, end):
    output = CliRunner().invoke(program, ["--no-config", "help", topic]).output
    assert heading in "\n".join(output.splitlines()[:4])
    assert output.rstrip().endswith(end)


@pytest.mark.parametrize("topic", ["frobnicate", "a", "(", ""])
def test_other_words_are_usage_errors(topic):
    ran = CliRunner().invoke(help_command, [topic])
    assert isinstance(ran.exception, UsageError)
    assert ran.output == ""
