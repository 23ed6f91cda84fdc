package email

import (
	"html/template"
	"time"

	"github.com/remedykit/remedy/approval"
)

// Render is what a person is mailed about a request at a time.
func (c *Channel) Render(req *approval.Request, s approval.Standing, person string, now time.Time) (plain, html string, err error) {
	m, err := c.questionMail(req, s, person, now)
	if err != nil {
		return "", "", err
	}
	if s.State != approval.Open {
		m = c.updateMail(req, s, person, now)
	}
	style, err := templates.ReadFile("templates/style.css")
	if err != nil {
		return "", "", err
	}
	m.view.Style = template.CSS(style)
	data, err := c.render("mail.html", m.view)
	return text(m.view), string(data), err
}
