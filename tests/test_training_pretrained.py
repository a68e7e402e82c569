"""The ImageNet start: a picture of a cat gets a cat's class through our five channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from skimage import data

from medq_vlm.encoder import backbone
from medq_vlm.encoder.preprocess import channels
from training.pretrained import published_weights, start_from_imagenet

CATS = {281, 282, 283, 284, 285}  # ImageNet's cats


def test_a_cat_is_a_cat() -> None:
    trunk = backbone.build_clip("nano").visual.trunk
    start_from_imagenet(trunk)
    trunk.eval()
    picture = torch.from_numpy(data.chelsea()).permute(2, 0, 1)[None, :, :300, 75:375].float() / 255
    picture = F.interpolate(picture, size=(224, 224), mode="bilinear", antialias=True)
    weights = published_weights()
    with torch.no_grad():
        features = trunk.forward_features(channels(picture)).mean((2, 3))
        share = (features @ weights["_fc.weight"].T + weights["_fc.bias"]).softmax(-1)[0]
    assert float(share[sorted(CATS)].sum()) > 0.8
