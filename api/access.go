package api

// ReusablePolicy is a policy that applications share, with how many do.
type ReusablePolicy struct {
	Policy
	AppCount int `json:"app_count"`
}
