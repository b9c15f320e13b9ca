"""Frozen graphs written field by field, hostile ones too: no TensorFlow is needed to make them."""

import struct

from actviz.gate.protobuf import encode_bytes, encode_varint

FLOAT = 1


def field(number, value):
    """A field of a message: bytes, a text or a whole number."""
    if isinstance(value, int):
        return encode_varint(number << 3) + encode_varint(value % (1 << 64))
    return encode_bytes(number, value.encode() if isinstance(value, str) else value)


def node(name, op, inputs=(), **attributes):
    """A NodeDef; attributes are AttrValue messages."""
    entries = (field(5, field(1, key) + field(2, value)) for key, value in attributes.items())
    given = b"".join(field(3, text) for text in inputs)
    return field(1, name) + field(2, op) + given + b"".join(entries)


KIND = field(6, FLOAT)


def source():
    """The input `x` of four numbers."""
    sizes = b"".join(field(2, field(1, size)) for size in (-1, 4))
    return node("x", "Placeholder", dtype=KIND, shape=field(7, sizes))


def function(name, nodes, returned, argument="a"):
    """A FunctionDef of one argument and one result `o`."""
    kind = field(3, FLOAT)
    signature = field(1, name) + field(2, field(1, argument) + kind) + field(3, field(1, "o") + kind)
    returns = field(4, field(1, "o") + field(2, returned))
    return field(1, signature) + b"".join(field(3, one) for one in nodes) + returns


def graph(nodes, functions=()):
    """A GraphDef."""
    library = field(2, b"".join(field(1, one) for one in functions)) if functions else b""
    return b"".join(field(1, one) for one in nodes) + library


def chain(count, *, scoped=False):
    """Operations in a row; scoped: each in a layer of its own."""
    nodes, before = [source()], "x"
    for number in range(count):
        name = f"layer_{number}/Relu" if scoped else f"r{number}"
        nodes.append(node(name, "Relu", [before], T=KIND))
        before = name
    return graph(nodes)


def nested_names(count):
    """Operations whose names lie deeper and deeper."""
    nodes, before = [source()], "x"
    for number in range(count):
        nodes.append(node("s/" * number + "r", "Relu", [before], T=KIND))
        before = "s/" * number + "r"
    return graph(nodes)


def calls_in_a_row(count, *, backwards=False, loop=False):
    """Calls of one function, each of what the one before gives."""
    calls = [node(f"c{number}", "f", [f"c{number - 1}" if number else "x"]) for number in range(count)]
    if loop:
        calls[0] = node("c0", "f", [f"c{count - 1}"])
    body = function("f", [node("r", "Relu", ["a"], T=KIND)], "r:activations:0")
    return graph([source(), *(calls[::-1] if backwards else calls)], [body])


def doubling(count, *, calls=2, empty=False, loop=False):
    """Functions each of which calls the one below several times; empty: the lowest does nothing."""
    lowest = function("f0", [], "a") if empty else function("f0", [node("r", "Relu", ["a"], T=KIND)], "r:activations:0")
    functions = [lowest]
    for number in range(1, count):
        below = f"f{count - 1}" if loop and number == 1 else f"f{number - 1}"
        inner = [node(f"p{place}", below, [f"p{place - 1}:o:0" if place else "a"]) for place in range(calls)]
        functions.append(function(f"f{number}", inner, f"p{calls - 1}:o:0"))
    return graph([source(), node("c", f"f{count - 1}", ["x"]), node("last", "Relu", ["c"], T=KIND)], functions)


def written_file(path, output=""):
    """Nodes that write a file, where `path` is not empty; `output` is how their place names a constant."""
    if not path:
        return []
    texts = {"name": path, "content": "x"}
    nodes = [
        node(name, "Const", dtype=field(6, 7), value=field(8, field(1, 7) + field(2, b"") + field(8, text)))
        for name, text in texts.items()
    ]
    return [*nodes, node("file", "WriteFile", [name + output for name in texts])]


def ones():
    """The constant `k` of four ones."""
    content = field(1, FLOAT) + field(2, field(2, field(1, 4))) + field(4, struct.pack("<4f", 1, 1, 1, 1))
    return node("k", "Const", value=field(8, content), dtype=KIND)


def conditional(then, other):
    """Nodes of a condition that always calls the first of two functions, and a Relu behind it."""
    value = field(8, field(1, 10) + field(2, b"") + field(11, 1))
    named = {"then_branch": field(10, field(1, then)), "else_branch": field(10, field(1, other))}
    kinds = {"Tcond": field(6, 10), "Tin": field(1, field(6, FLOAT)), "Tout": field(1, field(6, FLOAT))}
    yes = node("yes", "Const", dtype=field(6, 10), value=value)
    return [yes, node("if", "If", ["yes", "x"], **named, **kinds), node("last", "Relu", ["if"], T=KIND)]


def changes_in_a_branch(op="AssignVariableOp", name="v", writes=""):
    """A condition whose function makes a variable by its name, changes it by ones, and adds it to `x`."""
    shape = field(7, field(2, field(1, 4)))
    inner = [
        ones(),
        node("v", "VarHandleOp", dtype=KIND, shape=shape, shared_name=field(2, name), container=field(2, "")),
        node("w", op, ["v:resource:0", "k:output:0"], dtype=KIND),
        node("read", "ReadVariableOp", ["v:resource:0", "^w"], dtype=KIND),
        node("sum", "AddV2", ["a", "read:value:0"], T=KIND),
        *written_file(writes, ":output:0"),
    ]
    functions = [function("then", inner, "sum:z:0"), function("else", [], "a")]
    return graph([source(), *conditional("then", "else")], functions)


def changes_what_is_fed(writes=""):
    """A change of a variable whose handle is a placeholder."""
    nodes = [source(), ones(), node("v", "Placeholder", dtype=field(6, 20), shape=field(7, b""))]
    nodes.append(node("w", "AssignVariableOp", ["v", "k"], dtype=KIND))
    nodes.append(node("read", "ReadVariableOp", ["v", "^w"], dtype=KIND))
    nodes += [*written_file(writes), node("sum", "AddV2", ["x", "read"], T=KIND)]
    return graph([*nodes, node("last", "Relu", ["sum"], T=KIND)])


def small_graph(*, attribute=b"", text=b"", argument=b"", tensor=b"", body=b"", branches=False):
    """A graph of a constant, a sum and, where that is asked, a loop whose functions TensorFlow parses."""
    shape = field(2, field(2, field(1, 4)))
    value = field(1, FLOAT) + shape + field(4, bytes(16)) + (field(8, tensor) + tensor if tensor else b"")
    extra = {"extra": field(2, attribute)} if attribute else {}
    nodes = [source(), node("k", "Const", value=field(8, value), dtype=KIND)]
    nodes.append(node("sum", "AddV2", ["x", "k"], T=KIND, **extra))
    if attribute:
        nodes[-1] += field(5, field(1, attribute) + field(2, KIND))
    functions = []
    if branches:
        then = node("r", "Relu", ["a"], T=KIND, **({"text": field(2, b"x")} if text else {}))
        if text:
            then += field(5, field(1, text) + field(2, KIND))
        one = function("then", [then], "r:activations:0", argument="a")
        if argument:
            one += field(5, field(1, argument) + field(2, KIND))
        functions = [one + body, function("else", [], "a")]
        named = {key: field(10, field(1, key.removesuffix("_branch"))) for key in ("then_branch", "else_branch")}
        kinds = {"Tcond": field(6, 10), "Tin": field(1, field(6, FLOAT)), "Tout": field(1, field(6, FLOAT))}
        nodes.append(
            node("yes", "Const", dtype=field(6, 10), value=field(8, field(1, 10) + field(2, b"") + field(11, 1)))
        )
        nodes.append(node("if", "StatelessIf", ["yes", "sum"], **named, **kinds))
    nodes.append(node("last", "Relu", ["if" if functions else "sum"], T=KIND))
    return graph(nodes, functions)
