// As openmp.c: a second library that uses the same libgomp.
#define OPENMP_ID "fault-openmp-beside"
#include "openmp.c"
