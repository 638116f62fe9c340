"""Sections: the experiments of the paper (Radford et al. 2016), what it found, and the command that does each here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """One experiment.

    Attributes:
        experiment: what its findings are called.
        title: of the section, with the paper's number.
        protocol: what the paper did, and with what result.
        commands: what to run.
    """

    experiment: str
    title: str
    protocol: str
    commands: tuple[str, ...]


SECTIONS = (
    Section(
        "cifar10",
        "CIFAR-10 by the features of D (section 5.1)",
        "D is trained on ImageNet-1k at 32 px. The outputs of all its convolutions, max-pooled to 4×4, flattened and "
        "concatenated (28,672 dimensions), go into a regularised linear L2-SVM: 82.8% accuracy, above K-means of one "
        "layer (80.6%) and three layers (82.0%), and below the Exemplar CNN (84.3%).",
        (
            "python -m train.probe data/imagenet32/train/imagenet32 --dataset cifar10 --baseline random "
            "--baseline pixels --baseline kmeans:1600 --baseline kmeans:4800",
        ),
    ),
    Section(
        "svhn",
        "SVHN with 1,000 labels (section 5.2)",
        "The same features of a D trained on SVHN, 1,000 labelled images balanced over the classes, and 10,000 held "
        "out of train for every choice: 22.48% test error. A purely supervised CNN of the same architecture, the best "
        "of 64 random trials, has 28.87% validation error.",
        (
            "python -m train.probe data/svhn/train/svhn --dataset svhn --labels 1000",
            "python -m train.search --dataset svhn --trials 64",
        ),
    ),
    Section(
        "walk",
        "Walking in the latent space (section 6.1)",
        "Between random z images change smoothly: sharp transitions would be a sign of memorisation.",
        ("python -m train.explore walk RUN",),
    ),
    Section(
        "guided",
        "What D responds to (section 6.2)",
        "Guided backpropagation of the strongest responses of D's last convolution: a trained D responds to beds and "
        "windows, random filters to nothing in particular.",
        ("python -m train.explore guided RUN",),
    ),
    Section(
        "filters",
        "Filters of both networks",
        "The paper shows none; the authors of many a network do, and dead or alike filters stand out.",
        ("python -m train.explore filters RUN",),
    ),
    Section(
        "forget",
        "Forgetting to draw windows (section 6.3.1)",
        "A logistic regression on the second-highest convolutional features of G tells the inside of window boxes from "
        "the outside; every map with a weight above zero is dropped. G mostly draws no windows then, and puts other "
        "things in their place.",
        ("python -m train.explore forget RUN --boxes boxes.json",),
    ),
    Section(
        "arithmetic",
        "Arithmetic on faces (section 6.3.2)",
        "The mean z of three exemplars of each concept: smiling woman − neutral woman + neutral man gives a smiling "
        "man. With one exemplar each it is unstable.",
        ("python -m train.explore arithmetic RUN --exemplars exemplars.json",),
    ),
    Section(
        "turn",
        "A vector that turns faces (section 6.3.2)",
        "The difference of the mean z of samples that look left and right, interpolated and added to random z, turns "
        "them.",
        ("python -m train.explore turn RUN --exemplars exemplars.json",),
    ),
)
