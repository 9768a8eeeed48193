// Here for the path that pkg-config tells: the baseline includes the header itself, and the module is loaded by path.
#pragma once
#include <libpq-fe.h>
