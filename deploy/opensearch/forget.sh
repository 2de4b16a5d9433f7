#!/usr/bin/env bash
# Once a day delete the daily indices of Jaeger that hold nothing younger than KEEP_TRACES.
#   bash forget.sh http://opensearch:9200 [once]
set -eu -o pipefail
opensearch=$1

[[ $KEEP_TRACES =~ ^([1-9][0-9]*)h$ ]] || { echo "KEEP_TRACES=$KEEP_TRACES is no number of hours such as 168h" >&2; exit 2; }
hours=${BASH_REMATCH[1]}

forget() {
    # The day before this one ended KEEP_TRACES ago or earlier.
    local kept_from indices index
    kept_from=$(date --utc --date="-$hours hours" +%F)
    indices=$(curl --fail --silent --show-error "$opensearch/_cat/indices/otelflow-jaeger-*?h=index") || return
    for index in $indices; do
        [[ $index =~ ^otelflow-jaeger-(span|service|dependencies|sampling)-([0-9]{4}-[0-9]{2}-[0-9]{2})$ ]] || continue
        [[ ${BASH_REMATCH[2]} < $kept_from ]] || continue
        curl --fail --silent --show-error --request DELETE --output /dev/null "$opensearch/$index" || return
        echo "deleted $index"
    done
}

if [[ ${2:-} == once ]]; then
    forget
    exit
fi
while true; do
    forget || echo "will try again tomorrow" >&2
    sleep 1d
done
