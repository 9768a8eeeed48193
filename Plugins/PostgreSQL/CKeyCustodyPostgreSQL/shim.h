#ifndef KEY_CUSTODY_POSTGRESQL_SHIM_H
#define KEY_CUSTODY_POSTGRESQL_SHIM_H

// The client library of PostgreSQL, 14 or later: its pipelines send many statements at once.
#include <libpq-fe.h>

#ifndef LIBPQ_HAS_PIPELINING
#error "libpq is too old: version 14 or later is needed (apt-get install libpq-dev)."
#endif

// Macros whose values are characters, which Swift does not see.
enum { kc_pg_sqlstate = PG_DIAG_SQLSTATE, kc_pg_severity = PG_DIAG_SEVERITY_NONLOCALIZED };

#endif
