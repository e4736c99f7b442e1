"""Variants that were tried and do not ship, for the card: pruning, training lengths, other training pictures."""

NOT_PRUNED = """
Not pruned. The lower layers detect persons by what they learned from tens of thousands of photographs, which these few
scenes cannot teach again. Tried during development on the float network with two scenes left out, found and false boxes
a frame at the best threshold for room 2:

| float, groups of 4 cells | factory | room 2 |
| --- | --- | --- |
| trunk frozen, one block and 64 channels more in the head than in the package | 81 %, 0.00 | 86 %, 0.10 |
| the same, 16 % of the channels pruned, then all layers fine-tuned | 8 %, 0.00 | 64 %, 0.18 |
| the same, at the best threshold for the factory | 92 %, 0.14 | 41 %, 0.61 |

So the smallest file came from leaving out whole blocks instead, and INT8 from the network as it was trained.
"""

TRIED = """
Views shown for the head: to the new layers on the frozen trunk; for fine-tuning: to all layers. Each variant was
trained without one scene and judged on it at threshold 0.6 and 4 cells: found, boxed, false boxes a frame. Last, the
highest score in a black picture.

| INT8 | room 2 | hall | factory | black |
| --- | --- | --- | --- | --- |
| version 2.0: 7,000 views, 28,000 for the head, 6,400 for fine-tuning \
| 56 %, 91 %, 0.35 | 97 %, 68 %, 0.00 | 94 %, 86 %, 0.06 | 0.39 to 0.76 |
| the same, another seed | 61 %, 84 %, 0.39 | 95 %, 56 %, 0.00 | 92 %, 75 %, 0.06 | 0.53 to 0.80 |
| version 2.1: one picture in 16 blank | 55 %, 92 %, 0.30 | 97 %, 78 %, 0.00 | 94 %, 86 %, 0.00 | 0.10 to 0.58 |
| 2.1, a second seed | 55 %, 82 %, 0.46 | 91 %, 53 %, 0.00 | 94 %, 86 %, 0.11 | 0.07 to 0.38 |
| 2.1, a third seed | 52 %, 87 %, 0.31 | | 97 %, 86 %, 0.03 | 0.06 to 0.25 |
| 2.1, outputs of the three averaged | 57 %, 89 %, 0.27 | | 97 %, 89 %, 0.00 | |
| 2.1, no fine-tuning | 59 %, 87 %, 0.58 | 85 %, 51 %, 0.00 | 94 %, 72 %, 0.03 | 0.16 to 0.70 |
| 2.1, no fine-tuning, 56,000 for the head | 61 %, 95 %, 0.78 | 96 %, 82 %, 0.00 | | |
| 2.1, 56,000 for the head | 60 %, 93 %, 0.52 | 98 %, 90 %, 0.00 | | 0.04, 0.08 |
| the same, another seed | 57 %, 86 %, 0.57 | 97 %, 76 %, 0.00 | | |
| 2.1, 56,000 for the head, 14,000 views, 12,800 for fine-tuning \
| 59 %, 89 %, 0.33 | 98 %, 96 %, 0.00 | 92 %, 86 %, 0.03 | 0.09 to 0.18 |
| the same, another seed | 52 %, 87 %, 0.31 | 98 %, 90 %, 0.00 | | 0.04, 0.12 |
| the same, weights averaged over the fine-tuning | 61 %, 88 %, 0.32 | 98 %, 95 %, 0.00 | | 0.17, 0.18 |
| version 2.2, as it ships: 28,000 views, 25,600 for fine-tuning \
| 75 %, 92 %, 0.32 | 97 %, 94 %, 0.00 | 86 %, 86 %, 0.28 | 0.15 to 0.28 |
| the same, another seed | 60 %, 83 %, 0.31 | | | 0.14 |
| the same, 51,200 for fine-tuning | 80 %, 80 %, 0.45 | | | 0.08 |

Other training pictures, each with 2.0's numbers unless stated otherwise:

| INT8 | room 2 | hall | factory | black |
| --- | --- | --- | --- | --- |
| blank pictures only in fine-tuning | | | | 0.55 |
| A: of the views without persons 20 % blank, 20 % spoiled | 64 %, 86 %, 0.45 | 98 %, 85 %, 0.00 | | 0.12, 0.46 |
| A, 30 % blank | 58 %, 90 %, 0.82 | 98 %, 75 %, 0.00 | 92 %, 64 %, 0.25 | |
| more views without persons, 30 % of them A; persons darker | 58 %, 91 %, 0.76 | | | 0.17 |
| B: decoys, pieces of empty places put down as persons \
| 75 %, 88 %, 0.64 | 98 %, 84 %, 0.00 | 100 %, 83 %, 0.00 | 0.45 to 0.82 |
| A and B | 68 %, 91 %, 0.36 | 97 %, 79 %, 0.00 | | 0.16, 0.32 |
| A and B, another random draw of views | 64 %, 91 %, 0.75 | 98 %, 82 %, 0.02 | 94 %, 69 %, 0.00 | |
| A and B, 14,000 views, fine-tuning twice as long | 60 %, 88 %, 0.20 | | 92 %, 78 %, 0.06 | 0.17, 0.15 |
| the same, another random draw of views | 65 %, 82 %, 0.68 | 99 %, 84 %, 0.00 | | 0.41, 0.22 |
| A and B, decoys in 80 % of the views, not 50 % | 59 %, 87 %, 0.52 | | | 0.21 |
| A and B, half of the decoys in persons' outlines | 53 %, 84 %, 0.58 | | | 0.15 |
| A and B, 0.9 of a box's width is person, not 0.75 | 48 %, 91 %, 0.57 | | | 0.10 |
| C: lamps, curtains, doors, coats, shelves, chairs, beds drawn | 58 %, 89 %, 0.40 | | | 0.61 |
| A, B and C | 63 %, 83 %, 0.36 | | | 0.20 |
| tiles of empty places, shuffled | 67 %, 93 %, 0.78 | | | 0.25 |
| A, B, C and the tiles | 46 %, 74 %, 0.29 | | | 0.25 |
| more views without persons as above, B, 0.9 of a box's width | 53 %, 90 %, 0.71 | 97 %, 84 %, 0.00 | | 0.34, 0.38 |
| A and B, 0.9 of a box's width, 14,000 views, fine-tuning twice as long | 48 %, 90 %, 0.70 | | | 0.25 |

Blank is one colour, mostly black, or noise; spoiled is a room by night, over-exposed or out of focus. Chance alone
moves room 2 by 6 points and half a false box a frame, and the hall's boxes by 13 points (by 6 after longer training):
smaller differences mean nothing. Room 2's false box is the red end of a bed, where it is not one box with the person;
none of these removed it. Whole recipes with every scene left out in turn, at the thresholds of the other scenes as in
the first table:

| | found | boxed | false boxes a frame | factory found | package in black |
| --- | --- | --- | --- | --- | --- |
| version 2.0 | 81.7 % | 79.3 % | 0.198 | 94 % | 0.61 |
| A and B | 83.7 % | 89.8 % | 0.249 | 81 % | 0.26 |
| A, 30 % blank | 81.2 % | 70.7 % | 0.248 | 81 % | 0.38 |
| version 2.1 | 84.8 % | 84.6 % | 0.081 | 97 % | 0.17 |
| 2.1, a second seed | 82.8 % | 71.5 % | 0.121 | 94 % | |
| 14,000 views, 12,800 for fine-tuning | 86.8 % | 92.9 % | 0.084 | 94 % | |
| version 2.2, thresholds in steps of 0.05 as all above | 91.6 % | 89.0 % | 0.073 | 86 % | |
| version 2.1, steps of 0.025 | 85.2 % | 86.1 % | 0.081 | | |
| 14,000 views, 12,800 for fine-tuning, steps of 0.025 | 86.3 % | 92.1 % | 0.110 | 97 % | |
"""
