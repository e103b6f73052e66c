"""Images with label maps: pairs of folders, 38-Cloud, DFC2020, maps in archives."""

import tracemalloc

import numpy as np
import pytest
import tifffile
from images_kit import pil
from PIL import Image
from published_kit import write_cloud38, write_dfc2020, write_masks

from ftonnx.datasets import Preprocess, load_dataset
from ftonnx.errors import DataError, UsageError

PIXELS = np.random.default_rng(8).integers(0, 256, (5, 3, 12, 16), np.uint8)


def only_batch(data):
    """All images and labels."""
    ((images, labels),) = data.batches(len(data))
    return images, labels


def test_maps_are_the_numbers_of_a_palette_and_not_its_colours(tmp_path):
    """As in Pascal VOC; images and maps agree in their names but for the end of the maps'."""
    labels = write_masks(tmp_path / "images", tmp_path / "maps", PIXELS)
    images, found = only_batch(load_dataset(f"masks:{tmp_path / 'images'},{tmp_path / 'maps'}"))
    np.testing.assert_array_equal(found, labels)
    np.testing.assert_allclose(images, PIXELS / 255, rtol=1e-6)


@pytest.mark.parametrize(
    ("write", "dtype"),
    [
        (lambda file, values: Image.fromarray(values.astype(np.uint8)).save(f"{file}.png"), np.uint8),
        (lambda file, values: Image.fromarray(values.astype(np.uint16)).save(f"{file}.png"), np.uint8),
        (
            lambda file, values: Image.fromarray(np.stack([values.astype(np.uint8)] * 3, 2)).save(f"{file}.png"),
            np.uint8,
        ),
        (lambda file, values: tifffile.imwrite(f"{file}.tif", values.astype(np.float32)), np.uint8),
        (lambda file, values: tifffile.imwrite(f"{file}.tif", values.astype(np.int16) - 1), np.int8),
    ],
    ids=["gray", "16 bits", "three equal channels", "float TIFF", "signed TIFF"],
)
def test_maps_of_any_numbers_are_read(tmp_path, write, dtype):
    """And held in the smallest type."""
    values = np.arange(12 * 16).reshape(12, 16) % 5
    for number, picture in enumerate(PIXELS):
        for folder in ("images", "maps"):
            (tmp_path / folder).mkdir(exist_ok=True)
        pil(picture).save(tmp_path / "images" / f"{number}.png")
        write(tmp_path / "maps" / f"{number}", values)
    data = load_dataset(f"masks:{tmp_path / 'images'},{tmp_path / 'maps'}")
    assert data.labels.dtype == dtype
    np.testing.assert_array_equal(data.labels[2].astype(int), values - (dtype == np.int8))


def test_maps_of_0_and_255_are_of_two_classes(tmp_path):
    """As masks of foreground are saved; 255 as no label would leave one class."""
    write_masks(tmp_path / "images", tmp_path / "maps", PIXELS, classes=1)
    data = load_dataset(f"masks:{tmp_path / 'images'},{tmp_path / 'maps'}")
    assert np.unique(data.labels).tolist() == [0, 1]
    assert "0 and 255 in the masks are classes 0 and 1" in data.labelling.rule


def test_maps_are_resized_and_cropped_as_images_are(tmp_path):
    """To the nearest pixel, so that no class appears between two others."""
    blocks = np.kron(np.arange(12).reshape(3, 4), np.ones((4, 4), int)).astype(np.uint8)
    pictures = np.stack([np.stack([blocks * 20] * 3)] * 2)
    write_masks(tmp_path / "images", tmp_path / "maps", pictures)
    for number in range(2):
        Image.fromarray(blocks).save(tmp_path / "maps" / f"{number:02}_gt.png")
    spec = f"masks:{tmp_path / 'images'},{tmp_path / 'maps'}"
    for preprocess in (
        Preprocess(crop=8),
        Preprocess(resize=6, interpolation="nearest"),
        Preprocess(resize=24, crop=20),
    ):
        nearest = Preprocess(interpolation="nearest").merged(preprocess)
        images, labels = only_batch(load_dataset(spec, preprocess=nearest if preprocess.resize else preprocess))
        np.testing.assert_allclose(images[:, 0] * 255 / 20, labels, atol=1e-4)


def test_a_model_that_says_a_crop_crops_the_maps(tmp_path):
    """The data set is completed as a whole."""
    labels = write_masks(tmp_path / "images", tmp_path / "maps", PIXELS)
    data = load_dataset(f"masks:{tmp_path / 'images'},{tmp_path / 'maps'}")
    done = data.completed({"ftonnx.preprocess": '{"crop": 8}'})
    np.testing.assert_array_equal(done.labels, labels[:, 2:10, 4:12])


def test_maps_in_an_archive_are_cropped_too(tmp_path):
    """Where they have the size of the images."""
    labels = np.arange(5 * 12 * 16).reshape(5, 12, 16) % 7
    np.savez(tmp_path / "a.npz", images=PIXELS, labels=labels)
    data = load_dataset(f"npz:{tmp_path / 'a.npz'}", preprocess=Preprocess(crop=8))
    np.testing.assert_array_equal(data.labels, labels[:, 2:10, 4:12])
    assert data.sample_shape == (3, 8, 8)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_maps_in_an_archive_keep_their_type(tmp_path, dtype):
    """One byte per pixel does not become eight; what is no map of the images' size is numbers as ever."""
    maps = (np.arange(5 * 12 * 16) % 7).astype(dtype)
    for name, labels, kept in [("maps", maps.reshape(5, 12, 16), dtype), ("boxes", maps.reshape(5, 48, 4), np.int64)]:
        np.savez(tmp_path / f"{name}.npz", images=PIXELS, labels=labels)
        data = load_dataset(f"npz:{tmp_path / name}.npz")
        assert data.labels.dtype == kept
        np.testing.assert_array_equal(data.labels, labels)


def test_the_fingerprint_of_many_maps_copies_none_of_them(tmp_path):
    """It reads their memory."""
    maps = np.zeros((400, 64, 64), np.uint8)
    np.savez(tmp_path / "a.npz", images=np.zeros((400, 1, 64, 64), np.uint8), labels=maps)
    data = load_dataset(f"npz:{tmp_path / 'a.npz'}")
    tracemalloc.start()
    assert len(data.fingerprint) == 64
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < maps.nbytes / 4


BREAK = {
    "no map": (lambda at: (at / "maps" / "03_gt.png").unlink(), r"got none for 03\.png"),
    "no image": (lambda at: (at / "images" / "03.png").unlink(), r"for every label map, got none for 03_gt\.png"),
    "no folder": (lambda at: (at / "maps").rename(at / "other"), "got no folder"),
    "colours": (lambda at: pil(PIXELS[0]).save(at / "maps" / "02_gt.png"), r"02_gt\.png: .* got a picture in"),
    "another size": (
        lambda at: Image.fromarray(np.zeros((3, 3), np.uint8)).save(at / "maps" / "02_gt.png"),
        r"02_gt\.png: expected a label map of \(12, 16\) pixels like the first one, got \(3, 3\)",
    ),
    "damaged": (lambda at: (at / "maps" / "02_gt.png").write_bytes(b"PNG?"), r"02_gt\.png: expected a label map, got"),
}  # fmt: skip


@pytest.mark.parametrize("case", BREAK)
def test_what_does_not_fit_is_named_in_one_line(tmp_path, case):
    """Missing partners, colours, other sizes, damage."""
    write_masks(tmp_path / "images", tmp_path / "maps", PIXELS)
    damage, message = BREAK[case]
    damage(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(f"masks:{tmp_path / 'images'},{tmp_path / 'maps'}")
    assert len(str(caught.value).splitlines()) == 1


def test_fractions_are_no_class_numbers(tmp_path):
    """They may be scores."""
    write_masks(tmp_path / "images", tmp_path / "maps", PIXELS[:1])
    (tmp_path / "maps" / "00_gt.png").unlink()
    tifffile.imwrite(tmp_path / "maps" / "00_gt.tif", np.full((12, 16), 0.5, np.float32))
    with pytest.raises(DataError, match="expected class numbers, got fractions"):
        load_dataset(f"masks:{tmp_path / 'images'},{tmp_path / 'maps'}")


def test_38_cloud_has_four_channels_and_two_classes(tmp_path):
    """In the folder of the archive, or in that of its training part."""
    bands, masks = write_cloud38(tmp_path / "38-Cloud_training")
    for path in (tmp_path, tmp_path / "38-Cloud_training"):
        images, labels = only_batch(load_dataset(f"cloud38:{path}"))
        np.testing.assert_allclose(images, bands / 65535, rtol=1e-6)
        np.testing.assert_array_equal(labels, masks)


def test_a_missing_band_of_38_cloud_is_named(tmp_path):
    """Or a folder of them."""
    write_cloud38(tmp_path)
    (tmp_path / "train_nir" / "nir_patch_03.TIF").unlink()
    with pytest.raises(DataError, match="got no patch_03 in train_nir"):
        load_dataset(f"cloud38:{tmp_path}")
    for file in (tmp_path / "train_nir").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="got no images in train_nir"):
        load_dataset(f"cloud38:{tmp_path}")


def dfc_by_hand(radar, optical, labels):
    """Images and maps as the paper's networks take them, by plain numpy."""
    bands = np.concatenate([np.clip(radar, -25, 0) + 25, np.clip(optical.astype(np.float32), 0, 1e4)], axis=1)
    bands /= bands.max(axis=(2, 3), keepdims=True) + 1e-5
    table = {0: 255, 1: 0, 2: 1, 3: 255, 4: 2, 5: 3, 6: 4, 7: 5, 8: 255, 9: 6, 10: 7}
    maps = np.vectorize(table.__getitem__)(labels)
    margin = (labels.shape[1] - 224) // 2
    inside = slice(margin, margin + 224)
    return bands[:, :, inside, inside], maps[:, inside, inside]


@pytest.mark.parametrize("scene", ["0", "validation"])
def test_dfc2020_is_what_the_papers_networks_take(tmp_path, scene):
    """Both spellings of scenes; the validation part is what they are trained on."""
    test = write_dfc2020(tmp_path / "ROIs0000_test", "0", patches=3)
    train = write_dfc2020(tmp_path / "ROIs0000_validation", scene, patches=2, folder="0", side=256)
    for split, written in ((None, test), ("test", test), ("train", train), ("val", train)):
        data = load_dataset(f"dfc2020:{tmp_path}", split=split)
        images, labels = only_batch(data)
        expected = dfc_by_hand(*written)
        np.testing.assert_allclose(images, expected[0], rtol=1e-5)
        np.testing.assert_array_equal(labels, expected[1])
        assert data.sample_shape == (15, 224, 224)
        assert data.split == ("test" if split in (None, "test") else "train")


def test_dfc2020_in_the_form_of_copernicus_bench(tmp_path):
    """Three folders, and lists of the names in one of them."""
    written = write_dfc2020(tmp_path, "", patches=4)
    names = sorted(file.name for file in (tmp_path / "dfc").iterdir())
    (tmp_path / "dfc-test-new.csv").write_text("".join(f"{name}\n" for name in names[2:]))
    (tmp_path / "dfc-train-new.csv").write_text("".join(f"{name}\n" for name in names[:2]))
    images, labels = only_batch(load_dataset(f"dfc2020:{tmp_path}", split="test"))
    expected = dfc_by_hand(*(part[2:] for part in written))
    np.testing.assert_allclose(images, expected[0], rtol=1e-5)
    np.testing.assert_array_equal(labels, expected[1])


def test_patches_with_nan_in_the_radar_image_are_left_out(tmp_path, caplog):
    """As the paper's code does; a limit counts those that are left."""
    written = write_dfc2020(tmp_path / "ROIs0000_test", "0", patches=4, nan=[0, 2])
    data = load_dataset(f"dfc2020:{tmp_path}")
    assert "2 patches have NaN in s1" in caplog.text
    assert len(data) == 2
    images, _ = only_batch(load_dataset(f"dfc2020:{tmp_path}", limit=1))
    np.testing.assert_allclose(images, dfc_by_hand(*(part[1:2] for part in written))[0], rtol=1e-5)


DFC_BREAK = {
    "s1 missing": (lambda at: (at / "s1_0" / "ROIs0000_test_s1_0_p01.tif").unlink(), "its image of s1, got no file"),
    "no maps": (lambda at: (at / "dfc_0").rename(at / "lc_0"), "got none; check what was unpacked"),
    "label 11": (
        lambda at: tifffile.imwrite(at / "dfc_0" / "ROIs0000_test_dfc_0_p01.tif", np.full((240, 240), 11, np.uint8)),
        "expected labels from 0 to 10, got 11",
    ),
    "bands": (
        lambda at: tifffile.imwrite(at / "s2_0" / "ROIs0000_test_s2_0_p00.tif", np.zeros((12, 240, 240), np.uint16)),
        "expected 13 bands, got 12",
    ),
    "no parts": (lambda at: at.rename(at.with_name("test")), "expected folders ROIs0000_validation and ROIs0000_test"),
}  # fmt: skip


@pytest.mark.parametrize("case", DFC_BREAK)
def test_what_is_wrong_with_dfc2020_is_named(tmp_path, case):
    """In one line."""
    write_dfc2020(tmp_path / "ROIs0000_test", "0", patches=2)
    damage, message = DFC_BREAK[case]
    damage(tmp_path / "ROIs0000_test")
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(f"dfc2020:{tmp_path}")
    assert len(str(caught.value).splitlines()) == 1


def test_two_folders_have_no_split(tmp_path):
    """Nor has 38-Cloud."""
    write_masks(tmp_path / "images", tmp_path / "maps", PIXELS[:1])
    write_cloud38(tmp_path / "c", patches=1)
    for spec in (f"masks:{tmp_path / 'images'},{tmp_path / 'maps'}", f"cloud38:{tmp_path / 'c'}"):
        with pytest.raises(UsageError, match="split"):
            load_dataset(spec, split="test")
