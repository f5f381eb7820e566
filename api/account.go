package api

// Account is the one account of a control plane.
type Account struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Type string `json:"type"`
}

// TokenUser is what an API token is when it asks who it is: a user without an e-mail address.
type TokenUser struct {
	ID         string    `json:"id"`
	Email      string    `json:"email"` // always empty
	Username   string    `json:"username"`
	CreatedOn  string    `json:"created_on"`
	ModifiedOn string    `json:"modified_on"`
	Accounts   []Account `json:"organizations"`
}

// Membership is that of an API token in the account.
type Membership struct {
	ID          string         `json:"id"`
	Status      string         `json:"status"`
	Account     Account        `json:"account"`
	Roles       []string       `json:"roles"`
	Permissions map[string]any `json:"permissions"` // always empty: the roles say it
}
