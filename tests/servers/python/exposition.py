"""Reads a page of metrics on standard input with the parser of Prometheus' own client library. One line of JSON per sample."""

import json
import sys

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

families = (openmetrics if sys.argv[1] == "openmetrics" else parser).text_string_to_metric_families
for family in families(sys.stdin.read()):
    for sample in family.samples:
        print(json.dumps([family.type, sample.name, sample.labels, sample.value, sample.exemplar is not None]))
