"""Where do images come from, and in which order?

A config holds a dataset value (`Digits`, `Tfds`, `Folder`, `Pairs`, `Unpaired`, `Npz`, `StackedMnist`, `Latents`; of
another's images, `FewLabels`, `Domains` and `Prepared`); `open()` turns it into a `Source` of records; and `open_feed`
turns that into a `Feed`, which hands the train step its batches. `order` says which record comes when.
"""

from ganjax.data.catalogue import Tfds
from ganjax.data.digits import Digits
from ganjax.data.domains import Domains, outlined
from ganjax.data.feed import Feed, ResidentFeed, open_feed
from ganjax.data.few_labels import FewLabels
from ganjax.data.folder import Folder
from ganjax.data.latents import Latents
from ganjax.data.npz import Npz
from ganjax.data.order import order
from ganjax.data.pairs import Pairs
from ganjax.data.prepared import Prepared
from ganjax.data.resident import DeviceDataset
from ganjax.data.source import ArraySource, Dataset, Field, ReadableSource, Source, View
from ganjax.data.stacked import StackedMnist
from ganjax.data.stored import open_stored
from ganjax.data.stream import unskipped_step
from ganjax.data.unpaired import Unpaired

__all__ = [
    "ArraySource",
    "Dataset",
    "DeviceDataset",
    "Digits",
    "Domains",
    "Feed",
    "FewLabels",
    "Field",
    "Folder",
    "Latents",
    "Npz",
    "Pairs",
    "Prepared",
    "ReadableSource",
    "ResidentFeed",
    "Source",
    "StackedMnist",
    "Tfds",
    "Unpaired",
    "View",
    "open_feed",
    "open_stored",
    "order",
    "outlined",
    "unskipped_step",
]
