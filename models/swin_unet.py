"""SwinUNet for two sensors, as in the paper's segmentation experiments. Needs torch.

Written afresh after Scheibenreif et al. (2022), with the parameter names of their checkpoints: an encoder for the two
channels of Sentinel-1 and one for the thirteen of Sentinel-2, a decoder for each, and one output for both. What their
code holds besides and never runs (a second encoder in each decoder, classifiers, the second decoder's output) is left
out.
"""

import torch
from torch import Tensor, nn

from ftonnx.models.swin import Encoder, Form, Stage

__all__ = ["S1_CHANNELS", "S2_CHANNELS", "SwinUNet"]

S1_CHANNELS = 2
S2_CHANNELS = 13
_LAST = 3  # stage of an encoder


def _spread(tokens: Tensor, size: int, factor: int) -> Tensor:
    """Let every token become ``factor`` x ``factor`` tokens, of as many channels less.

    Args:
        tokens: ``(batch, size * size, channels)``.
        size: Side of the map.
        factor: By which it grows.
    """
    channels = tokens.shape[-1] // factor**2
    parts = tokens.view(-1, size, size, factor, factor, channels).transpose(2, 3)
    return parts.reshape(-1, (size * factor) ** 2, channels)


class _Expand(nn.Module):
    """Twice the side, half the channels."""

    def __init__(self, form: Form, stage: int) -> None:
        super().__init__()
        channels = form.channels(stage)
        self.size = form.tokens(stage)
        self.expand = nn.Linear(channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(channels // 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Change tokens."""
        spread: Tensor = self.norm(_spread(self.expand(tokens), self.size, 2))
        return spread


class _FinalExpand(nn.Module):
    """From tokens to pixels, with as many channels."""

    def __init__(self, form: Form, channels: int) -> None:
        super().__init__()
        self.size = form.tokens(0)
        self.patch = form.patch
        self.expand = nn.Linear(channels, form.patch**2 * channels, bias=False)
        self.norm = nn.LayerNorm(channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Change tokens."""
        spread: Tensor = self.norm(_spread(self.expand(tokens), self.size, self.patch))
        return spread


class _Decoder(nn.Module):
    """From the last stage's tokens back to the first one's, each stage given what its counterpart had."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        up: list[nn.Module] = [_Expand(form, _LAST)]
        joins: list[nn.Module] = [nn.Identity()]
        for stage in reversed(range(_LAST)):
            channels = form.channels(stage)
            joins.append(nn.Linear(2 * channels, channels))
            up.append(Stage(form, stage, upsample=_Expand(form, stage) if stage else None))
        self.layers_up = nn.ModuleList(up)
        self.concat_back_dim = nn.ModuleList(joins)
        self.norm_up = nn.LayerNorm(form.embed)

    def forward(self, tokens: Tensor, given: list[Tensor]) -> Tensor:
        """Return tokens of the first stage's size.

        Args:
            tokens: The encoder's.
            given: What every stage of the encoder was given.
        """
        tokens = self.layers_up[0](tokens)
        for number in range(1, len(self.layers_up)):
            both = torch.cat([tokens, given[_LAST - number]], -1)
            tokens = self.layers_up[number](self.concat_back_dim[number](both))
        normed: Tensor = self.norm_up(tokens)
        return normed


class _OutputDecoder(_Decoder):
    """The decoder that holds what follows both."""

    def __init__(self, form: Form, classes: int) -> None:
        super().__init__(form)
        channels = 2 * form.embed
        self.up = _FinalExpand(form, channels)
        self.output = nn.Conv2d(channels, classes, 1, bias=False)


class SwinUNet(nn.Module):
    """Scores of classes for every pixel of an image of both sensors.

    Args:
        classes: Their number.
        form: Of both encoders; the decoders have their counterparts' depths.

    Attributes:
        trained_later: Beginnings of the names of weights that pre-trained backbones lack.
    """

    trained_later = ("decoder1.", "decoder2.")

    def __init__(self, classes: int = 8, form: Form | None = None) -> None:
        super().__init__()
        used = form or Form()
        self.side = used.side
        self.backbone1 = Encoder(used, S1_CHANNELS)
        self.backbone2 = Encoder(used, S2_CHANNELS)
        self.decoder2 = _Decoder(used)
        # last, since it holds the output
        self.decoder1 = _OutputDecoder(used, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores ``(batch, classes, side, side)``.

        Args:
            images: ``(batch, 15, side, side)``: VV and VH of Sentinel-1, then the bands of Sentinel-2.
        """
        expected = (S1_CHANNELS + S2_CHANNELS, self.side, self.side)
        if tuple(images.shape[1:]) != expected:
            raise ValueError(f"images of shape {expected} were expected, got {tuple(images.shape[1:])}")
        radar = self.decoder1(*self.backbone1(images[:, :S1_CHANNELS]))
        optical = self.decoder2(*self.backbone2(images[:, S1_CHANNELS:]))
        pixels = self.decoder1.up(torch.cat([radar, optical], -1))
        maps = pixels.view(-1, self.side, self.side, pixels.shape[-1]).permute(0, 3, 1, 2)
        scores: Tensor = self.decoder1.output(maps)
        return scores
