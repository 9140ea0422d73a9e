package gateway

import "github.com/matron-epr/matron/audit/detect"

func (d *detection) read(_ []byte) (detect.Context, error) { return detect.Context{}, nil }
