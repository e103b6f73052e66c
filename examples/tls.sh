#!/usr/bin/env bash
# A key for a Dask cluster of one's own: scheduler, workers and the client take part with it, and nobody without it.
#
#     bash examples/tls.sh FOLDER
#     . FOLDER/settings.sh          # wherever a scheduler, a worker or ftonnx is started
#
# Copy FOLDER to the same path on every machine, readable for you alone. Whoever has it can run anything as the workers' user.
set -euo pipefail
umask 077
mkdir -p "$1"
cd "$1"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "${DAYS:-365}" -subj /CN=ftonnx \
    -keyout dask.pem -out dask.pem

prefix=DASK_DISTRIBUTED__COMM
{
    echo "export ${prefix}__REQUIRE_ENCRYPTION=true"
    for use in CA_FILE SCHEDULER__CERT WORKER__CERT CLIENT__CERT; do
        printf 'export %s__TLS__%s=%q\n' "$prefix" "$use" "$PWD/dask.pem"
    done
} >settings.sh
