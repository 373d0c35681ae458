"""CLIP's pixel statistics: what uint8 frames are normalised with before the network sees them."""

# RGB, on the scale [0, 1] (OpenAI CLIP; reference section 8.3)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
