"""Published data sets, fabricated in small, in every layout in which people have them."""

import json
import pickle
from io import BytesIO

import numpy as np
import polars as pl
from images_kit import pil
from scipy.io import savemat

SCENES = {
    "eurosat": ("AnnualCrop", "Forest", "River"),
    "patternnet": ("airplane", "forest", "river"),
    "rsicb256": ("airplane", "dam", "sea"),
    "bcs": ("coffee", "noncoffee"),
}
"""Some classes of every set of satellite images."""


def pixels(count=12, side=32, seed=3):
    """Return random images ``(count, 3, side, side)``, uint8."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3, side, side), np.uint8)


def write_scenes(root, keyword, count=12, suffix="png"):
    """Write images in turns over some classes of a set, named class_0 and so on; return (class, file name) of each."""
    names = SCENES[keyword]
    written = []
    for number, image in enumerate(pixels(count, side=6)):
        name = names[number % len(names)]
        file = root / name / f"{name}_{number}.{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        pil(image).save(file)
        written.append((name, file.name))
    return written


def write_lists(folder, keyword, written, **splits):
    """Write one list per split, of some of the images (by their numbers)."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, numbers in splits.items():
        lines = [f"{name}/{file},{name}\n" for name, file in (written[number] for number in numbers)]
        (folder / f"{keyword}_{split}.csv").write_text("".join(lines))


def write_folds(root):
    """Write Brazilian Coffee Scenes as they are published: two folds of three images, and their lists."""
    for fold in (1, 2):
        folder = root / f"fold{fold}"
        folder.mkdir(parents=True)
        lines = []
        for number, image in enumerate(pixels(3, side=6, seed=fold)):
            stem = f"guaxupe.T{fold}.B{number}.L1.R2"
            pil(image).save(folder / f"{stem}.jpg")
            lines.append(f"{'noncoffee' if number else 'coffee'}.{stem}\n")
        (root / f"fold{fold}.txt").write_text("".join(lines))


def write_masks(images, maps, pictures, classes=3):
    """Write pictures and, in palette images whose colours mean nothing, label maps; return the maps."""
    from PIL import Image

    images.mkdir(parents=True, exist_ok=True)
    maps.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(4)
    labels = rng.integers(0, classes, (len(pictures), *pictures.shape[2:])).astype(np.uint8)
    labels[:, 0, 0] = 255
    for number, (picture, map_) in enumerate(zip(pictures, labels, strict=True)):
        pil(picture).save(images / f"{number:02}.png")
        palette = Image.fromarray(map_).convert("L")
        palette.putpalette(rng.integers(0, 256, 768).astype(np.uint8).tobytes())
        palette.save(maps / f"{number:02}_gt.png")
    return labels


def write_cloud38(root, patches=12, side=8):
    """Write patches as 38-Cloud has them; return their bands (patches, 4, side, side) and masks."""
    import tifffile

    rng = np.random.default_rng(5)
    bands = rng.integers(0, 1 << 16, (patches, 4, side, side)).astype(np.uint16)
    masks = rng.integers(0, 2, (patches, side, side)).astype(np.uint8)
    for number in range(patches):
        for band, values in zip(("red", "green", "blue", "nir"), bands[number], strict=True):
            folder = root / f"train_{band}"
            folder.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(folder / f"{band}_patch_{number:02}.TIF", values)
        folder = root / "train_gt"
        folder.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(folder / f"gt_patch_{number:02}.TIF", masks[number] * np.uint8(255))
    return bands, masks


def write_dfc2020(part, scene, patches=12, side=240, folder=None, nan=()):
    """Write patches of one scene as DFC2020 has them; return radar, reflectances and labels.

    Args:
        part: Folder such as ROIs0000_test.
        scene: As it stands in the names of folders.
        patches: Their number.
        side: Of a patch, in pixels.
        folder: The scene as it stands in names of files, where that is another.
        nan: Patches with a NaN in the radar image.
    """
    import tifffile

    rng = np.random.default_rng(6)
    radar = rng.normal(-15, 12, (patches, 2, side, side)).astype(np.float32)
    for number in nan:
        radar[number, 1, 3, 4] = np.nan
    optical = rng.integers(0, 14000, (patches, 13, side, side)).astype(np.uint16)
    labels = rng.integers(0, 11, (patches, side, side)).astype(np.uint8)
    for name, values in (("s1", radar), ("s2", optical), ("dfc", labels)):
        where = part / (f"{name}_{scene}" if scene else name)
        where.mkdir(parents=True, exist_ok=True)
        for number, each in enumerate(values):
            # pixel by pixel, as GDAL writes them
            pixels_last = np.moveaxis(each, 0, -1) if each.ndim == 3 else each
            file = where / f"{part.name}_{name}_{folder or scene or 0}_p{number:02}.tif"
            tifffile.imwrite(
                file, pixels_last, planarconfig="contig" if each.ndim == 3 else None, photometric="minisblack"
            )
    return radar, optical, labels


def write_cifar_python(folder, files, labels_key, labels):
    """Write pickles with the keys of the python version; every file has all images of ``pixels()``."""
    folder.mkdir(parents=True)
    for name in files:
        batch = {
            "data": pixels(len(labels)).reshape(len(labels), -1),
            labels_key: [int(label) for label in labels],
            "filenames": [],
        }
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))


def write_cifar_binary(folder, files, labels, coarse=False):
    """Write records of the binary version; every file has all images of ``pixels()``."""
    folder.mkdir(parents=True)
    for name in files:
        records = []
        for image, label in zip(pixels(len(labels)), labels, strict=True):
            head = bytes([7, label] if coarse else [label])
            records.append(head + image.tobytes())
        (folder / name).write_bytes(b"".join(records))


def png(image):
    """Return an image as the content of a PNG."""
    buffer = BytesIO()
    pil(image).save(buffer, format="PNG")
    return buffer.getvalue()


def table(labels, *, image="image", label="label", seed=3):
    """Return a table with an encoded image and a label per row, as Hugging Face writes them."""
    rows = [{"bytes": png(each), "path": f"{number}.png"} for number, each in enumerate(pixels(len(labels), seed=seed))]
    return pl.DataFrame({image: rows, label: list(labels)}, schema_overrides={label: pl.Int64})


def features(label, names):
    """Return what Hugging Face says of a column of labels."""
    return {"features": {label: {"names": list(names), "_type": "ClassLabel"}}}


def write_parquet(file, labels, names=None, **columns):
    """Write one parquet file, with class names in its metadata if there are any."""
    file.parent.mkdir(parents=True, exist_ok=True)
    metadata = {}
    if names:
        metadata["huggingface"] = json.dumps({"info": features(columns.get("label", "label"), names)})
    table(labels, **columns).write_parquet(file, metadata=metadata)


def write_saved(root, splits, names):
    """Write what ``save_to_disk`` does: a folder per split with Arrow streams and notes beside them."""
    root.mkdir(parents=True)
    (root / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))
    for split, labels in splits.items():
        folder = root / split
        folder.mkdir()
        table(labels).write_ipc_stream(folder / "data-00000-of-00001.arrow")
        (folder / "dataset_info.json").write_text(json.dumps(features("label", names)))
        (folder / "state.json").write_text("{}")


def write_devkit(folder, truth, ids):
    """Write the devkit of ILSVRC2012.

    Args:
        folder: Where.
        truth: The ID of every image.
        ids: The ID of every WordNet number.
    """
    data = folder / "data"
    data.mkdir(parents=True)
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{each}\n" for each in truth))
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("num_children", "O")]
    synsets = np.array([(number, wnid, 0) for wnid, number in ids.items()], kinds)
    savemat(data / "meta.mat", {"synsets": synsets})
