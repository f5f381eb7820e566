package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"weft/control/store"
	"weft/internal/kind"
)

// The variables by which a database is named without a command line that others can read.
const (
	envDatabaseURL  = "WEFT_DATABASE_URL"
	envDatabaseFile = "WEFT_DATABASE_FILE"
)

func (o *controlOptions) addDatabase(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.Database, "database", "", "`URL` of a PostgreSQL database, without a password; default: SQLite in the data directory (env "+envDatabaseURL+")")
	cmd.Flags().StringVar(&o.databaseFile, "database-file", "", "`file` with that URL, which may hold a password (env "+envDatabaseFile+")")
	cmd.MarkFlagsMutuallyExclusive("database", "database-file")
}

// findDatabase settles which database is meant: flags stand above the environment.
func (o *controlOptions) findDatabase() error {
	if o.Database != "" {
		if store.PasswordInURL(o.Database) {
			return usageError{fmt.Errorf("--database has a password, which every process of the machine can read there; use --database-file, %s or PGPASSFILE", envDatabaseURL)}
		}
		return nil
	}
	file := o.databaseFile
	if file == "" {
		if o.Database = os.Getenv(envDatabaseURL); o.Database != "" {
			return nil
		}
		file = os.Getenv(envDatabaseFile)
	}
	if file == "" {
		return nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the URL of the database: %w", err)
	}
	if o.Database = strings.TrimSpace(string(raw)); o.Database == "" {
		return kind.New(kind.Invalid, "%s holds no URL of a database", file)
	}
	return nil
}
