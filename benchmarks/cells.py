"""Measure how difficult the embedded set "cells" is, by four methods' test IoU.

Otsu's threshold and a classifier of single pixels must fail clearly, the article's
coarse network must miss the outlines, a small U-Net must do well: only then does a
chapter that trains one show something. Run: python benchmarks/cells.py
"""

import argparse

import keras
import numpy as np
from keras import layers
from skimage.filters import threshold_otsu
from sklearn.ensemble import HistGradientBoostingClassifier

import lepton_utils as lu
from lepton_utils.vision import build_unet, foreground_iou

PIXELS = 300_000  # training pixels of the classifier, drawn from all training images
LEVELS = np.arange(
    0.2, 0.6, 0.05
)  # its decision levels; the best on training data counts
WIDTHS = (8, 8, 16, 16, 32)  # filters of the article's five convolutions


def otsu(images):
    """Split each image at Otsu's gray level; the smaller side is the foreground."""
    gray = images.mean(axis=-1)
    bright = np.stack([image > threshold_otsu(image) for image in gray])
    return bright ^ (bright.mean(axis=(1, 2), keepdims=True) > 0.5)


def classify_pixels(x_train, y_train, x_test, seed):
    """Classify every pixel by its own color, by boosted trees."""
    rng = np.random.default_rng(seed)
    colors, truth = x_train.reshape(-1, 3), y_train.ravel()
    chosen = rng.choice(len(colors), PIXELS, replace=False)
    colors, truth = colors[chosen], truth[chosen]
    model = HistGradientBoostingClassifier(random_state=seed).fit(colors, truth)
    fitted = model.predict_proba(colors)[:, 1]
    level = max(LEVELS, key=lambda level: foreground_iou(fitted > level, truth))
    probability = model.predict_proba(x_test.reshape(-1, 3))[:, 1]
    return (probability > level).reshape(x_test.shape[:3])


def build_article_cnn(shape):
    """Five convolutions, three poolings, two dense layers at each of 16 x 16 places."""
    inputs = x = layers.Input(shape)
    for position, width in enumerate(WIDTHS):
        x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        if position in (0, 2, 4):
            x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(64, 1, activation="relu")(x)
    x = layers.Conv2D(1, 1)(x)
    return keras.Model(inputs, layers.UpSampling2D(8, interpolation="bilinear")(x))


def train(model, learning_rate, x_train, y_train, x_test, batch_size, epochs):
    """Fit on 0-1 images with cross-entropy; return the predicted test masks."""
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(learning_rate), loss)
    scaled, truth = x_train / np.float32(255), y_train[..., None].astype("float32")
    model.fit(scaled, truth, batch_size=batch_size, epochs=epochs, verbose=0)
    return model.predict(x_test / np.float32(255), verbose=0)[..., 0] > 0


def warm_up_and_decay(steps, peak=1e-2):
    """Raise the rate for a tenth of the steps, then lower it along a cosine."""
    warm_up = steps // 10
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - warm_up, warmup_target=peak, warmup_steps=warm_up
    )


def main(seed):
    """Measure all four, print and record their IoU; return it as a dict."""
    lu.setup(seed)
    (x_train, y_train), (x_test, y_test) = lu.load("cells")
    y_train, y_test = y_train > 0, y_test > 0
    shape, rate = x_train.shape[1:], warm_up_and_decay(steps=8 * len(x_train) // 16)
    data = x_train, y_train, x_test
    masks = {
        "otsu_iou": otsu(x_test),
        "pixel_classifier_iou": classify_pixels(*data, seed),
        "article_cnn_iou": train(build_article_cnn(shape), 1e-3, *data, 8, 10),
        "unet_iou": train(build_unet(shape), rate, *data, 16, 8),
    }
    metrics = {name: foreground_iou(mask, y_test) for name, mask in masks.items()}
    print("  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    lu.record(**metrics)
    return metrics


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seed", type=int, default=1, help="of the models, not the data"
    )
    main(parser.parse_args().seed)
