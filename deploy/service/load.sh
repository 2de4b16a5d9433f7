#!/bin/sh
# Call the example service about twice a second: most orders are good, some cannot be had, one in twenty is malformed.
service=$1
number=0
while true; do
    number=$((number + 1))
    order="$service/orders/$number"
    [ $((number % 20)) -eq 0 ] && order="$service/orders/not-a-number"
    wget -q -T 10 -O /dev/null "$order" || true
    sleep 0.5
done
