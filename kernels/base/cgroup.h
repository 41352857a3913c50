// cgroup: the memory and CPUs that the control groups of this process allow.
//
// A process is in one group of each hierarchy (v1: of one or more controllers; v2: of all), and is limited by every
// level above that group too. /proc/self/cgroup names the group, /proc/self/mountinfo where the hierarchy is mounted
// and which group is its top there: in a container often the container's own.
#pragma once

#include "base.h"

// root: a prefix of every path, "" except in tests. The minimum over all levels of all hierarchies.
size_t cgroup_memory_left(const char *root); // bytes; what can be reclaimed at once counts as free; SIZE_MAX: no limit
int64_t cgroup_cpus(const char *root);       // quota in CPUs, rounded up; INT64_MAX: no quota
