package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/proxy/breakglass"
)

const (
	// deliverEach is how often the outbox is looked through.
	deliverEach = 5 * time.Second
	// deliverWithin bounds one message.
	deliverWithin = 30 * time.Second
	// noticesLate is how old the oldest notice may be before the health page says so.
	noticesLate = 15 * time.Minute
)

// mailer delivers notices by SMTP over TLS. It holds no patient and no name: a
// message is a reference and an address of this gateway. Care never waits for it.
type mailer struct {
	cfg      config.Notices
	password string
	tls      *tls.Config
	pages    string // address of the gateway
	service  string
	where    *time.Location
	within   time.Duration // bounds one message
	state    atomic.Pointer[dashboards.Copy]
}

// newMailer reads what the configuration names; nil where no server is configured.
func newMailer(c config.Config, where *time.Location) (*mailer, error) {
	n := c.Notices
	if n.Server == "" {
		return nil, nil //nolint:nilnil // no mail is configured
	}
	m := &mailer{cfg: n, pages: c.ExternalURL, service: c.Branding.ServiceName, where: where, within: deliverWithin}
	if n.PasswordFile != "" {
		var err error
		if m.password, err = readSecret(n.PasswordFile); err != nil {
			return nil, fmt.Errorf("read password of the mail server: %w", err)
		}
	}
	transport, err := transportFor(n.CAFile)
	if err != nil {
		return nil, err
	}
	m.tls = transport.TLSClientConfig
	return m, nil
}

// send delivers one notice.
func (m *mailer) send(ctx context.Context, n breakglass.Notice) error {
	msg := mail.NewMsg()
	if err := errors.Join(msg.From(m.cfg.From), msg.To(n.Address)); err != nil {
		return errors.New("an address of the message is not one") // the text would quote it
	}
	subject, body := m.words(n)
	msg.Subject(subject)
	msg.SetBodyString(mail.TypeTextPlain, body)
	msg.SetMessageIDWithValue(n.ID + "@" + m.host()) // the same however often it is tried
	client, err := m.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, m.within)
	defer cancel()
	if err := client.DialAndSendWithContext(ctx, msg); err != nil {
		return mailError(err)
	}
	return nil
}

func (m *mailer) client() (*mail.Client, error) {
	host, port, err := hostAndPort(m.cfg.Server)
	if err != nil {
		return nil, err
	}
	conf := m.tls.Clone()
	conf.ServerName = host
	options := []mail.Option{mail.WithPort(port), mail.WithTLSConfig(conf), mail.WithTimeout(m.within), mail.WithHELO(m.host())}
	if m.cfg.STARTTLS {
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	} else {
		options = append(options, mail.WithSSL())
	}
	if m.cfg.User != "" {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(m.cfg.User), mail.WithPassword(m.password))
	}
	return mail.NewClient(host, options...)
}

// mailError keeps addresses out of the log: of a refusal only its code is told.
func mailError(err error) error {
	if sent, ok := errors.AsType[*mail.SendError](err); ok {
		return fmt.Errorf("the mail server refused it with code %d", sent.ErrorCode())
	}
	return fmt.Errorf("reach the mail server: %w", err)
}

// words are the message: reference only.
func (m *mailer) words(n breakglass.Notice) (subject, body string) {
	when := n.Began.In(m.where).Format("2 January 2006, 15:04")
	if n.Reader == breakglass.Officer {
		return "Emergency access " + n.Grant + " to be looked at",
			"Emergency access " + n.Grant + " began on " + when + " and waits to be looked at:\n\n" +
				m.pages + "/.matron/emergencies\n\n" + m.service + " sent this message. It holds no patient's and no person's data on purpose.\n"
	}
	return "Emergency access " + n.Grant + " in your name",
		"Emergency access " + n.Grant + " was used in your name on " + when + ". It is recorded and looked at.\n\n" +
			"Your emergency accesses: " + m.pages + breakglass.Path + "\n\n" +
			"If it was not you, tell the service desk this reference now.\n\n" +
			m.service + " sent this message. It holds no patient's data on purpose.\n"
}

// deliverNotices sends what waits in the outbox until ctx ends.
func (g *Gateway) deliverNotices(ctx context.Context) error {
	if g.mailer == nil {
		return nil
	}
	tick := time.NewTicker(deliverEach)
	defer tick.Stop()
	for {
		if err := g.deliverOnce(ctx); err != nil && ctx.Err() == nil {
			g.log.LogAttrs(ctx, slog.LevelError, "notices not read", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// hostAndPort takes a validated address apart.
func hostAndPort(address string) (string, int, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err := strconv.Atoi(text)
	return host, port, err
}

// host is the name of the gateway, as mail servers are told.
func (m *mailer) host() string {
	u, err := url.Parse(m.pages)
	if err != nil {
		return "localhost" // validated by config
	}
	return u.Hostname()
}

// deliverOnce sends what is due and notes what waits.
func (g *Gateway) deliverOnce(ctx context.Context) error {
	err := g.emergency.Deliver(ctx, g.mailer.send)
	n, since, counted := g.emergency.Waiting(ctx)
	state := dashboards.Copy{Set: true, State: dashboards.StateOK, Waiting: n}
	if n > 0 {
		state.Behind = g.now().Sub(since)
	}
	switch {
	case err != nil || counted != nil:
		state.State = dashboards.StateUnknown
	case state.Behind > noticesLate:
		state.State = dashboards.StateFailed
	}
	g.mailer.state.Store(&state)
	return errors.Join(err, counted)
}

// health says what waits to go out.
func (m *mailer) health() dashboards.Copy {
	if m == nil {
		return dashboards.Copy{}
	}
	if state := m.state.Load(); state != nil {
		return *state
	}
	return dashboards.Copy{Set: true}
}
