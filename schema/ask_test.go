package schema

// testAsk is what clusterpair-helper does, in this process. The package that evaluates
// policies imports this one, so a test of another package sets it.
var testAsk PolicyAsk

// SetTestAsk sets it.
func SetTestAsk(ask PolicyAsk) { testAsk = ask }
