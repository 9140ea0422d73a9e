package matron_test

import data.matron

test_nurse if matron.allow with input as {"subject": {"issuer": "a", "sub": "b", "roles": ["nurse"], "machine": false}, "rule": "r", "certainty": "authoritative", "patients": ["1"], "action": "read", "area": "notes"}
