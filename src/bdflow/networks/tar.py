"""TAR (Kim et al., Task-Aware Image Downscaling, ECCV 2018): an encoder and a decoder, a rival of BDFlow.

Nothing is invertible: both networks are convolutional, made of residual blocks between halvings by space to
depth and doublings by depth to space. What Y lost is guessed by the decoder; there is no Z.
"""

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from bdflow.networks import facts
from bdflow.networks.config import NetworkConfig
from bdflow.networks.flow import conv3x3, zero
from bdflow.networks.network import Network


class ResidualBlock(nn.Module):
    """EDSR's: two convolutions beside a shortcut, nothing normalised."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.net = nn.Sequential(conv3x3(features, features), nn.ReLU(), conv3x3(features, features))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.net(x)
        return out


class Body(nn.Module):
    """Residual blocks and a convolution, beside a shortcut."""

    def __init__(self, features: int, blocks: int) -> None:
        super().__init__()
        net = [*(ResidualBlock(features) for _ in range(blocks)), conv3x3(features, features)]
        self.net = nn.Sequential(*net)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.net(x)
        return out


class TAR(Network):
    """One halving of each network per level, with `blocks` residual blocks of `features` channels after it
    (encoder) or before its doubling (decoder). The paper trains x2 and goes on to larger scales by recursion;
    here all levels are trained together, and between them go features, not pictures.

    The encoder adds to the mean of each cell, the decoder to Y repeated, both from zero on, so that all
    networks of a comparison start as the same picture. (This is ours, and saves training.)
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config, self.facts = config, facts.tar(config)
        levels = [config.of_level(index) for index in range(config.levels)]
        encoder: list[nn.Module] = []
        decoder: list[nn.Module] = []
        channels = 3
        for blocks, features in levels:
            encoder += [
                conv3x3(channels, features // 4),
                nn.PixelUnshuffle(2),
                Body(features, blocks),
            ]
            out = conv3x3(features // 4, channels)
            # Built from its end, as the encoder's mirror image.
            decoder = [
                Body(features, blocks),
                nn.PixelShuffle(2),
                out if decoder else zero(out),
                *decoder,
            ]
            channels = features
        self.encoder = nn.Sequential(*encoder, zero(conv3x3(channels, 3)))
        self.decoder = nn.Sequential(conv3x3(3, channels), *decoder)

    def forward(self, x: Tensor) -> tuple[Tensor, None, Tensor]:
        """Downscale `(N, 3, H, W)` in [0, 1]; H and W multiples of the scale.

        Returns:
            Y `(N, 3, h, w)`, no B, and a Z without channels `(N, 0, h, w)`.
        """
        y = avg_pool2d(x, self.config.scale) + self.encoder(x)
        return y, None, y[:, :0]

    def inverse(self, y: Tensor, boundary: Tensor | None = None, latent: Tensor | None = None) -> Tensor:
        """Restore `(N, 3, H, W)`, not clipped, from Y alone; a Z, if given, has no channels."""
        repeated = interpolate(y, scale_factor=float(self.config.scale), mode="nearest")
        out: Tensor = repeated + self.decoder(y)
        return out
