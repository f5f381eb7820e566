package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"time"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/internal/kind"
)

func (s *Server) version(w http.ResponseWriter, r *http.Request) error {
	if s.cfg.Version == "" {
		return s.write(w, r, s.agent(r).Version())
	}
	return s.write(w, r, localapi.Version{
		SchemaVersion: localapi.SchemaVersion, Version: s.cfg.Version, OS: runtime.GOOS, Arch: runtime.GOARCH,
	})
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	return s.write(w, r, s.agent(r).Status())
}

func (s *Server) registration(w http.ResponseWriter, r *http.Request) error {
	reg, err := s.agent(r).Registration()
	if err != nil {
		return err
	}
	return s.write(w, r, reg)
}

func (s *Server) register(w http.ResponseWriter, r *http.Request) error {
	var in localapi.NewRegistration
	if err := s.read(w, r, &in); err != nil {
		return err
	}
	reg, err := s.agent(r).Register(r.Context(), in.Enrolment)
	if err != nil {
		return err
	}
	return s.write(w, r, reg)
}

func (s *Server) unregister(w http.ResponseWriter, r *http.Request) error {
	if err := s.agent(r).Unregister(r.Context()); err != nil {
		return err
	}
	return s.write(w, r, localapi.Done{SchemaVersion: localapi.SchemaVersion, Success: true})
}

func (s *Server) connect(w http.ResponseWriter, r *http.Request) error {
	var in localapi.Connect
	if err := s.read(w, r, &in); err != nil {
		return err
	}
	wait := time.Duration(in.WaitSeconds) * time.Second
	if in.WaitSeconds < 0 || in.WaitSeconds > int(maxWait/time.Second) {
		return fault.New(string(kind.Invalid), "wait_seconds must be 0 to %d", int(maxWait/time.Second))
	}
	if wait == 0 {
		wait = defaultWait
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	st, err := s.agent(r).Connect(ctx)
	if err != nil {
		return err
	}
	return s.write(w, r, st)
}

func (s *Server) disconnect(w http.ResponseWriter, r *http.Request) error {
	var in localapi.Disconnect
	if err := s.read(w, r, &in); err != nil {
		return err
	}
	if in.ForSeconds < 0 || in.ForSeconds > int(maxPause/time.Second) {
		return fault.New(string(kind.Invalid), "for_seconds must be 0 to %d", int(maxPause/time.Second))
	}
	st, err := s.agent(r).Pause(r.Context(), time.Duration(in.ForSeconds)*time.Second)
	if err != nil {
		return err
	}
	return s.write(w, r, st)
}

func (s *Server) vnets(w http.ResponseWriter, r *http.Request) error {
	return s.write(w, r, s.agent(r).VNETs())
}

func (s *Server) selectVNET(w http.ResponseWriter, r *http.Request) error {
	var in localapi.SelectVNET
	if err := s.read(w, r, &in); err != nil {
		return err
	}
	list, err := s.agent(r).SelectVNET(r.Context(), in.VNET)
	if err != nil {
		return err
	}
	return s.write(w, r, list)
}

func (s *Server) targets(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	list, err := s.agent(r).Targets(TargetQuery{
		Attributes: q["attribute"], Usernames: q["username"], Protocols: q["protocol"],
		Ports: q["port"], VNETs: q["vnet"], IDs: q["id"], Hostnames: q["hostname"], IPs: q["ip"],
	})
	if err != nil {
		return err
	}
	return s.write(w, r, list)
}

func (s *Server) resolve(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	var port uint64
	if p := q.Get("port"); p != "" {
		var err error
		if port, err = strconv.ParseUint(p, 10, 16); err != nil {
			return fault.New(string(kind.Invalid), "port must be 1 to 65535")
		}
	}
	res, err := s.agent(r).Resolve(q.Get("name"), q.Get("vnet"), uint16(port))
	if err != nil {
		return err
	}
	return s.write(w, r, res)
}

// read decodes the body strictly; an empty body is the zero value.
func (s *Server) read(w http.ResponseWriter, r *http.Request, out any) error {
	return s.readUpTo(w, r, out, maxBodyBytes)
}

func (s *Server) readUpTo(w http.ResponseWriter, r *http.Request, out any, limit int64) error {
	if ct := r.Header.Get("Content-Type"); ct != "" {
		if mt, _, err := mime.ParseMediaType(ct); err != nil || mt != "application/json" {
			return fault.New(string(kind.Invalid), "the body must be application/json")
		}
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.cfg.BodyTimeout)); err != nil {
		return err
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	dec.DisallowUnknownFields()
	err := dec.Decode(out)
	if errors.Is(err, io.EOF) {
		err = nil // no body at all
	} else if err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			err = nil
		} else if err == nil {
			err = errors.New("data after the object")
		}
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		s.overBody.Add(1)
		return fault.New(string(kind.Invalid), "the body is larger than %d bytes", tooLarge.Limit)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.slowBodies.Add(1)
	}
	if err != nil {
		return fault.New(string(kind.Invalid), "the body is not the JSON object that this path takes").WithCause(err)
	}
	// The deadline was for the body; a later read belongs to the next request.
	return http.NewResponseController(w).SetReadDeadline(time.Time{})
}

// write answers 200 with v.
func (s *Server) write(w http.ResponseWriter, r *http.Request, v any) error {
	s.writeJSON(w, r, http.StatusOK, v)
	return nil
}

// writeError answers a failure; the cause goes to the log only.
func (s *Server) writeError(w http.ResponseWriter, r *http.Request, err error) {
	f := fault.From(err)
	s.writeStatus(w, r, localapi.HTTPStatus(f.Code), f)
}

func (s *Server) writeStatus(w http.ResponseWriter, r *http.Request, status int, f *fault.Error) {
	level := s.log.DebugContext
	if f.Code == string(kind.Internal) {
		level = s.log.ErrorContext
	}
	level(r.Context(), "local API answered an error", "path", r.URL.Path, "code", f.Code, "error", f)
	s.writeJSON(w, r, status, localapi.Error{
		SchemaVersion: localapi.SchemaVersion, Code: f.Code, Message: f.Message, Hint: f.Hint, Command: f.Command,
	})
}

func (s *Server) writeJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		s.log.ErrorContext(r.Context(), "encode local API answer", "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	rc := http.NewResponseController(w)
	if err := rc.SetWriteDeadline(time.Now().Add(s.cfg.BodyTimeout)); err != nil {
		s.log.DebugContext(r.Context(), "set write deadline", "error", err)
	}
	w.Header().Set("Content-Type", "application/json")
	// Otherwise a long answer goes out in chunks, and its reader cannot make room for it at once.
	w.Header().Set("Content-Length", strconv.Itoa(len(b)+1))
	w.WriteHeader(status)
	if _, err := w.Write(append(b, '\n')); err != nil {
		s.log.DebugContext(r.Context(), "write local API answer", "error", err)
	}
}
