// old_libc: what the headers of libstdc++ take from glibc 2.32 or later, for modules that are linked with an older one
// (package.cmake).
char __libc_single_threaded = 0; // "perhaps not": reference counts are atomic
