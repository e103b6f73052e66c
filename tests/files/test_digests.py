"""Digests of files."""

from ftonnx.files import digest_of


def test_a_digest_is_that_of_the_standard(tmp_path):
    """FIPS 180-4's example for SHA-256, the message abc."""
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest_of(tmp_path / "abc").hex() == expected
