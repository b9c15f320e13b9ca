"""Configurations of Keras models, as Keras 3 writes them."""


def tensor(name, call=0, output=0, shape=None):
    config = {"shape": shape, "dtype": "float32", "keras_history": [name, call, output]}
    return {"class_name": "__keras_tensor__", "config": config}


def node(*tensors):
    return {"args": [tensors[0] if len(tensors) == 1 else list(tensors)], "kwargs": {}}


def layer(name, kind, nodes, **config):
    return {
        "module": "keras.layers",
        "class_name": kind,
        "name": name,
        "config": {"name": name, "trainable": True, **config},
        "inbound_nodes": nodes,
    }


def source(name, shape):
    config = {"name": name, "batch_shape": [None, *shape], "dtype": "float32"}
    return {"module": "keras.layers", "class_name": "InputLayer", "name": name, "config": config, "inbound_nodes": []}


def model(name, layers, inputs, outputs):
    return {
        "module": "keras",
        "class_name": "Functional",
        "name": name,
        "config": {"name": name, "layers": layers, "input_layers": inputs, "output_layers": outputs},
    }


def shared_encoder():
    encoder = model(
        "encoder",
        [source("x", [8]), layer("hidden", "Dense", [node(tensor("x"))], units=4)],
        ["x", 0, 0],
        ["hidden", 0, 0],
    )
    encoder["inbound_nodes"] = [node(tensor("left")), node(tensor("right"))]
    return model(
        "siamese",
        [
            source("left", [8]),
            source("right", [8]),
            encoder,
            layer("difference", "Subtract", [node(tensor("encoder", 1), tensor("encoder", 2))]),
            layer("score", "Dense", [node(tensor("difference"))], units=1),
        ],
        [["left", 0, 0], ["right", 0, 0]],
        ["score", 0, 0],
    )
