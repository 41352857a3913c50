// module_interface: hash of the headers that this program or module was compiled from.
#include "module.h"

const char lorac_module_interface[] = MODULE_INTERFACE;
