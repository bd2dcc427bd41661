/*
 * Texts to vectors by feature hashing: K. Weinberger, A. Dasgupta, J. Langford, A. Smola, J. Attenberg, "Feature Hashing
 * for Large Scale Multitask Learning", ICML 2009. A hash of each feature picks the component, and a second one the sign,
 * so that what collides cancels out on average.
 *
 * Features: words (weight 1), pairs of neighbouring words (1/2), and runs of 3 to 5 characters (1/4).
 *
 * The text is taken as UTF-8. Letters A to Z are lowercased; runs of ASCII white space become one space, and one is put at
 * either end, so that runs see where words begin. Bytes outside of ASCII stay as they are: there is no case folding, no
 * composition, and each of them counts as part of a word. A character is a code point.
 *
 * Weights are added as integers (quarters), so a vector does not depend on the order of additions, on the compiler or on
 * the processor.
 */
#ifndef HASH_EMBEDDER_EMBED_H
#define HASH_EMBEDDER_EMBED_H

#include "extman_plugin.h"

#define DIMENSIONS 384

/* Writes the vector of a text that is not blank; its length is 1. EXTMAN_STATUS_RESOURCE_EXHAUSTED if there is no memory. */
ExtmanStatus embed(ExtmanBytes text, float vector[DIMENSIONS]);

#endif
