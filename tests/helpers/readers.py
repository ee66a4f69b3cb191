"""readers.py json SCHEMA FILE: validates a report.
readers.py junit FILE: prints the parsed JUnit report as JSON.
readers.py suites FILE: prints the suites of a JUnit report, and the results of their cases, as JSON."""

import json
import sys


def validate(schema, file):
    import jsonschema

    schema = json.load(open(schema))
    jsonschema.Draft202012Validator.check_schema(schema)
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(json.load(open(file))))
    for error in errors:
        print(list(error.absolute_path), error.message[:500])
    sys.exit(bool(errors))


def junit(file):
    from junitparser import JUnitXml

    cases = {}
    for suite in JUnitXml.fromfile(file):
        assert suite.name == "cgrun", suite.name
        for case in suite:
            result = [type(it).__name__ for it in case.result]
            message = [f"{it.message}\n{it.text or ''}" for it in case.result]
            cases[case.name] = {"result": result, "message": message, "err": case.system_err, "time": case.time}
    print(json.dumps(cases))


def suites(file):
    from junitparser import JUnitXml

    suites = {}
    for suite in JUnitXml.fromfile(file):
        suites[suite.name] = {case.name: [type(it).__name__ for it in case.result] for case in suite}
    print(json.dumps(suites))


{"json": validate, "junit": junit, "suites": suites}[sys.argv[1]](*sys.argv[2:])
