// module_interface: what the headers were that this program or module was compiled from.
#include "module.h"

const char lorac_module_interface[] = MODULE_INTERFACE;
