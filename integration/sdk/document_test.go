package sdk_test

func document(all []sdkMethod) string { return "" }
