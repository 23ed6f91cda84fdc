package email
import (_ "github.com/emersion/go-smtp"; _ "github.com/emersion/go-sasl"; _ "github.com/google/go-cmp/cmp"; _ "github.com/remedykit/remedy/executor")
