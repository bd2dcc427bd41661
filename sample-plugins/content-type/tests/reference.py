"""Writes the samples into a folder and prints what the Python package says of them, a line of JSON for each.

Usage: reference.py FOLDER MODEL_DIR
"""

import json
import sys
from pathlib import Path

from magika import Magika, PredictionMode

from samples import all_samples

MODES = {
    "high-confidence": PredictionMode.HIGH_CONFIDENCE,
    "medium-confidence": PredictionMode.MEDIUM_CONFIDENCE,
    "best-guess": PredictionMode.BEST_GUESS,
}


def main():
    folder = Path(sys.argv[1])
    model = Path(sys.argv[2])
    samples = all_samples()
    for number, content in enumerate(samples.values()):
        (folder / str(number)).write_bytes(content)
    for name, mode in MODES.items():
        magika = Magika(model_dir=model, prediction_mode=mode)
        for number, (sample, content) in enumerate(samples.items()):
            prediction = magika.identify_bytes(content).prediction
            print(
                json.dumps(
                    {
                        "file": str(number),
                        "sample": sample,
                        "mode": name,
                        "label": prediction.output.label,
                        "mime_type": prediction.output.mime_type,
                        "group": prediction.output.group,
                        "description": prediction.output.description,
                        "extensions": prediction.output.extensions,
                        "is_text": prediction.output.is_text,
                        "score": prediction.score,
                        "network_label": prediction.dl.label,
                        "reason": prediction.overwrite_reason,
                    }
                )
            )


if __name__ == "__main__":
    main()
