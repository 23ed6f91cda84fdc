package email
import (_ "github.com/slack-go/slack"; _ "github.com/wneessen/go-mail")
