"""Swin transformers (Liu et al. 2021): attention within windows, and the encoder of four stages. Needs torch.

Tokens are ``(batch, height * width, channels)``. Shapes are computed with -1 for the batch, so that exporters keep it
free. Parameters are named as in the authors' code, so that their checkpoints fit.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

__all__ = ["Encoder", "Form", "Stage"]

_MASKED: Final = -100.0
_STAGES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The sizes of a Swin transformer; the defaults are Swin-T's.

    Attributes:
        side: Of an image, in pixels.
        embed: Channels of the first stage; they double from stage to stage.
        depths: Blocks in every stage.
        heads: Of the attention in every stage.
        window: Side of a window, in tokens.
        patch: Side of the patch that becomes a token, in pixels.
    """

    side: int = 224
    embed: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    patch: int = 4

    def tokens(self, stage: int) -> int:
        """Side of a stage's map, in tokens."""
        return self.side // self.patch >> stage

    def channels(self, stage: int) -> int:
        """Channels of a stage's tokens."""
        return self.embed << stage


def _windows(maps: Tensor, side: int) -> Tensor:
    """Cut maps ``(batch, height, width, channels)`` into windows ``(windows, side * side, channels)``."""
    _, height, width, channels = maps.shape
    parts = maps.view(-1, height // side, side, width // side, side, channels)
    return parts.transpose(2, 3).reshape(-1, side * side, channels)


def _joined(windows: Tensor, side: int, size: int) -> Tensor:
    """Put windows back into maps ``(batch, size, size, channels)``."""
    channels = windows.shape[-1]
    across = size // side
    parts = windows.view(-1, across, across, side, side, channels)
    return parts.transpose(2, 3).reshape(-1, size, size, channels)


class _Attention(nn.Module):
    """Attention within windows, with a learned bias for every distance between two tokens."""

    relative_position_index: Tensor

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (channels // heads) ** -0.5
        distances = 2 * window - 1
        self.relative_position_bias_table = nn.Parameter(torch.zeros(distances**2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
        places = torch.stack([rows.flatten(), columns.flatten()])
        between = places[:, :, None] - places[:, None, :] + window - 1
        self.register_buffer("relative_position_index", between[0] * distances + between[1])
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """Mix the tokens of every window ``(windows, tokens, channels)``.

        Args:
            windows: Those of all images, image by image.
            mask: Added to the scores, (windows of an image, tokens, tokens); None for nothing.
        """
        _, tokens, channels = windows.shape
        split = self.qkv(windows).view(-1, tokens, 3, self.heads, channels // self.heads)
        queries, keys, values = split.permute(2, 0, 3, 1, 4).unbind(0)
        scores = (queries * self.scale) @ keys.transpose(-2, -1) + self._bias(tokens)
        if mask is not None:
            of_images = scores.view(-1, mask.shape[0], self.heads, tokens, tokens) + mask[:, None]
            scores = of_images.view(-1, self.heads, tokens, tokens)
        mixed = scores.softmax(-1) @ values
        joined: Tensor = self.proj(mixed.transpose(1, 2).reshape(-1, tokens, channels))
        return joined

    def _bias(self, tokens: int) -> Tensor:
        """Bias of every pair of tokens, (heads, tokens, tokens)."""
        pairs = self.relative_position_bias_table[self.relative_position_index.view(-1)]
        return pairs.view(tokens, tokens, -1).permute(2, 0, 1)


class _Mlp(nn.Module):
    """Two layers with a GELU between them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Change every token by itself."""
        changed: Tensor = self.fc2(self.act(self.fc1(tokens)))
        return changed


class _Block(nn.Module):
    """Attention within windows, shifted by half a window in every second block, and an MLP."""

    attn_mask: Tensor | None

    def __init__(self, form: Form, stage: int, *, shifted: bool) -> None:
        super().__init__()
        channels = form.channels(stage)
        self.size = form.tokens(stage)
        # a map of one window has nothing to shift
        self.window = min(form.window, self.size)
        self.shift = form.window // 2 if shifted and self.size > form.window else 0
        self.norm1 = nn.LayerNorm(channels)
        self.attn = _Attention(channels, form.heads[stage], self.window)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = _Mlp(channels)
        self.register_buffer("attn_mask", self._mask() if self.shift else None)

    def _mask(self) -> Tensor:
        """Keep tokens apart that a shift around the edge has brought into one window."""
        regions = torch.zeros(1, self.size, self.size, 1)
        parts = (slice(0, -self.window), slice(-self.window, -self.shift), slice(-self.shift, None))
        number = 0
        for rows in parts:
            for columns in parts:
                regions[:, rows, columns] = number
                number += 1
        of_windows = _windows(regions, self.window).squeeze(-1)
        differences = of_windows[:, None] - of_windows[:, :, None]
        return (differences != 0) * torch.tensor(_MASKED)

    def forward(self, tokens: Tensor) -> Tensor:
        """Change tokens ``(batch, height * width, channels)``."""
        _, count, channels = tokens.shape
        maps = self.norm1(tokens).view(-1, self.size, self.size, channels)
        if self.shift:
            maps = torch.roll(maps, (-self.shift, -self.shift), (1, 2))
        mixed = self.attn(_windows(maps, self.window), self.attn_mask)
        maps = _joined(mixed, self.window, self.size)
        if self.shift:
            maps = torch.roll(maps, (self.shift, self.shift), (1, 2))
        tokens = tokens + maps.view(-1, count, channels)
        changed: Tensor = tokens + self.mlp(self.norm2(tokens))
        return changed


class _Merging(nn.Module):
    """Four neighbours become one token of twice the channels."""

    def __init__(self, form: Form, stage: int) -> None:
        super().__init__()
        channels = form.channels(stage)
        self.size = form.tokens(stage) // 2
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(4 * channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Halve both sides of the map."""
        channels = tokens.shape[-1]
        maps = tokens.view(-1, self.size, 2, self.size, 2, channels)
        # of four neighbours the columns come before the rows, as in the authors' code
        fours = maps.permute(0, 1, 3, 4, 2, 5).reshape(-1, self.size * self.size, 4 * channels)
        merged: Tensor = self.reduction(self.norm(fours))
        return merged


class Stage(nn.Module):
    """Blocks of one size, and what changes the size behind them.

    Attributes:
        downsample: Of an encoder, if any.
        upsample: Of a decoder, if any.
    """

    def __init__(
        self, form: Form, stage: int, *, downsample: nn.Module | None = None, upsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        blocks = [_Block(form, stage, shifted=number % 2 == 1) for number in range(form.depths[stage])]
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample
        self.upsample = upsample

    def forward(self, tokens: Tensor) -> Tensor:
        """Change tokens."""
        for module in (*self.blocks, self.downsample, self.upsample):
            if module is not None:
                tokens = module(tokens)
        return tokens


class _Embedding(nn.Module):
    """Patches of pixels become tokens."""

    def __init__(self, form: Form, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, form.embed, form.patch, form.patch)
        self.norm = nn.LayerNorm(form.embed)

    def forward(self, images: Tensor) -> Tensor:
        """Return the tokens of images ``(batch, channels, side, side)``."""
        tokens: Tensor = self.norm(self.proj(images).flatten(2).transpose(1, 2))
        return tokens


class Encoder(nn.Module):
    """A Swin transformer without its classifier."""

    def __init__(self, form: Form, channels: int) -> None:
        super().__init__()
        last = _STAGES - 1
        self.patch_embed = _Embedding(form, channels)
        stages = [Stage(form, number, downsample=_Merging(form, number)) for number in range(last)]
        self.layers = nn.ModuleList([*stages, Stage(form, last)])
        self.norm = nn.LayerNorm(form.channels(last))

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the last stage's tokens, and what every stage was given."""
        tokens = self.patch_embed(images)
        given = []
        for stage in self.layers:
            given.append(tokens)
            tokens = stage(tokens)
        return self.norm(tokens), given
