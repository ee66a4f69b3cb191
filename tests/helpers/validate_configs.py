"""Prints, for each config of a JSON list, whether it is valid under a JSON Schema."""

import json
import sys

import jsonschema

schema = json.load(open(sys.argv[1]))
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)
for config in json.load(open(sys.argv[2])):
    errors = list(validator.iter_errors(config))
    print("refused: " + errors[0].message.replace("\n", " ") if errors else "valid")
