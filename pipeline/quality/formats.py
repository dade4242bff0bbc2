"""What `fld evaluate` reads, kind by kind.

This stands apart from the scorers so that `fld --help` loads none of them.
"""

from __future__ import annotations

FORMATS = {
    "caption": 'truth annotations {"image_id", "caption"}; predictions {"image_id", "caption"}',
    "detection": (
        'COCO instances with "bbox"; predictions {"image_id", "category_id", "bbox", "score"}'
    ),
    "segmentation": 'COCO instances with "segmentation"; predictions {.., "segmentation", "score"}',
    "grounding": 'truth annotations {"image_id", "phrase", "bbox"}; predictions {.., "score"}',
    "referring": 'truth annotations {"image_id", "expression", "bbox"}; predictions {.., "score"}',
    "referring-segmentation": (
        'truth annotations {"image_id", "expression", "segmentation"}; predictions too'
    ),
    "ocr": 'truth annotations {"image_id", "quad", "text"}; predictions too',
    "vqa": 'truth annotations {"question_id", "answers"}; predictions {"question_id", "answer"}',
}
