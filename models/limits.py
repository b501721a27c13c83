"""What loading a file from somebody else may cost, in one place.

No size that a file states is believed: memory is taken for what the file really holds, within these limits.

| reading | peak memory beyond the network itself | refused |
| --- | --- | --- |
| a model (`.pth`, `.pt`, `.bin`, `.safetensors`) | 5 times the file, and 150 MB | beyond `MAX_MODEL_BYTES` |
| a neural voice (`.safetensors`) | 6 times the file | beyond `MAX_NEURAL_VOICE_BYTES` |
| a retrieval index (`.index`) | 3 times the file | beyond `MAX_INDEX_BYTES` |
| a picture | its own size; decoded, 10 bytes a pixel | beyond `MAX_PICTURE_BYTES` or `MAX_PICTURE_PIXELS` |
| a `.zip` with a voice | 50 MB; on the disk what its `.pth` and `.index` unpack to | beyond the limits of these two |

Networks are built without memory, compared with the shapes in the file, and only then given its tensors, so a small
file that describes a large network costs nothing.
"""

MAX_MODEL_BYTES = 1 << 30  # a model file; published voices have 55 MB, base models 180 to 380 MB
MAX_NEURAL_VOICE_BYTES = 32 << 20  # a neural voice with its encoder; they have 7 MB
MAX_PICKLE_BYTES = 2 << 20  # what a model file holds beside its tensors; published ones have 0.1 MB
MAX_INDEX_BYTES = 4 << 30  # a retrieval index; 200,000 vectors have 0.6 GB
MAX_INDEX_MAGNITUDE = 1e6  # of one value in an index; content features stay below 100
MAX_PICTURE_BYTES = 1 << 20  # a voice's picture for the web panel
MAX_PICTURE_PIXELS = 16_000_000  # of it, as FFmpeg pads them: 35 bytes can state 4 thousand million
MAX_ZIP_MEMBERS = 1000  # files in a .zip
MAX_ZIP_DIRECTORY_BYTES = 4 << 20  # the list of files in a .zip
MAX_FOLDER_FILES = 10_000  # looked at in a folder that is said to hold a voice
MAX_INFO_CHARACTERS = 60  # of what a trainer wrote about a voice
MAX_DESCRIPTION_CHARACTERS = 160  # of a voice's line in lists
