// region: byte ranges of an address space that starts at 0 and grows as needed; best fit, adjacent free ranges join.
// One end of a tape's arena is one region (plan.c).
#pragma once

#include <stddef.h>

typedef struct Region Region;
Region *region_new(void);
void region_free(Region *r);  // NULL allowed
void region_reset(Region *r); // everything is free, and the peak is 0
// The start of the smallest free range that holds `bytes`, a multiple of 64.
size_t region_take(Region *r, size_t bytes);
void region_give(Region *r, size_t place, size_t bytes); // frees what region_take gave for as many bytes
size_t region_peak(const Region *r);                     // bytes of the address space that were ever in use
