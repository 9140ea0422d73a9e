package clickhouse

import (
	"strings"
	"testing"
)

// The same migrations make the tables of one server, of shards and of replicas.
func TestMigrationsFillForEachSortOfCluster(t *testing.T) {
	list, err := readMigrations(embedded)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cluster    Cluster
		statements int
		has, lacks []string
	}{
		"one server": {
			Cluster{},
			2,
			[]string{"IF NOT EXISTS trust.records ", "ENGINE = MergeTree\n", "non_replicated_deduplication_window = 10000,"},
			[]string{"ON CLUSTER", "Distributed"},
		},
		"shards": {
			Cluster{Name: "c1"},
			3,
			[]string{"IF NOT EXISTS trust.records_local ", "ENGINE = MergeTree\n", "trust.records  AS trust.records_local ENGINE = Distributed('c1', 'trust', 'records_local'"},
			[]string{"ON CLUSTER"},
		},
		"replicas": {
			Cluster{Name: "c1", Replicated: true},
			3,
			[]string{
				"trust.records_local ON CLUSTER 'c1'", "trust.records ON CLUSTER 'c1' AS", "ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')",
				"replicated_deduplication_window = 1000000", "replicated_deduplication_window_seconds = 1209600",
			},
			[]string{"non_replicated_deduplication_window"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Store{cfg: Config{Database: "trust", Cluster: c.cluster}}
			var all []string
			for _, m := range list {
				all = append(all, m.statements(s.placeholders(s.local()))...)
			}
			text := strings.Join(all, "\n")
			if len(all) != c.statements || strings.Contains(text, "{{") {
				t.Errorf("%d statements: %s", len(all), text)
			}
			for _, part := range c.has {
				if !strings.Contains(text, part) {
					t.Errorf("%q is not in %s", part, text)
				}
			}
			for _, part := range c.lacks {
				if strings.Contains(text, part) {
					t.Errorf("%q is in %s", part, text)
				}
			}
			if quorum := s.insertSettings("t")["insert_quorum"]; (quorum == "auto") != c.cluster.Replicated {
				t.Errorf("insert_quorum %q", quorum)
			}
		})
	}
}
