// Package bucket keeps recordings in the buckets of gocloud.dev/blob: S3 and whatever speaks its protocol (s3://), a directory
// (file://), and memory (mem://, for tests).
package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/fileblob" // file://
	_ "gocloud.dev/blob/memblob"  // mem://
	_ "gocloud.dev/blob/s3blob"   // s3://
	"gocloud.dev/gcerrors"

	"weft/gateway/recording"
)

// Bucket is a bucket of recordings.
type Bucket struct{ b *blob.Bucket }

var (
	_ recording.Source = (*Bucket)(nil)
	_ recording.Sink   = (*Bucket)(nil)
)

// Open opens the bucket of a URL (https://gocloud.dev/howto/blob/); what it does not say, such as credentials, is taken
// from where the provider's own tools take it.
func Open(ctx context.Context, url string) (*Bucket, error) {
	b, err := blob.OpenBucket(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("open bucket: %w", err)
	}
	return &Bucket{b}, nil
}

// Close ends the use of the bucket.
func (b *Bucket) Close() error { return b.b.Close() }

// Store implements recording.Sink. An object appears when it is whole.
func (b *Bucket) Store(ctx context.Context, name string, r io.ReadSeeker, _ int64) error {
	err := b.b.Upload(ctx, name, r, &blob.WriterOptions{ContentType: "application/octet-stream"})
	if err != nil {
		return fmt.Errorf("store in bucket: %w", err)
	}
	return nil
}

// Delete implements recording.Sink.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	err := b.b.Delete(ctx, name)
	if err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("delete from bucket: %w", err)
	}
	return nil
}

// Names implements recording.Source.
func (b *Bucket) Names(ctx context.Context) ([]string, error) {
	var out []string
	for it := b.b.List(nil); ; {
		o, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			slices.Sort(out)
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list bucket: %w", err)
		}
		if !o.IsDir && (strings.HasSuffix(o.Key, recording.Suffix) || strings.HasSuffix(o.Key, recording.Suffix+recording.PartSuffix)) {
			out = append(out, o.Key)
		}
	}
}

// Open implements recording.Source. The object is copied to a temporary file, which goes with Close.
func (b *Bucket) Open(ctx context.Context, name string) (_ recording.File, err error) {
	f, err := os.CreateTemp("", "weft-recording-*")
	if err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	t := &tempFile{File: f}
	if err := b.b.Download(ctx, name, f, nil); err != nil {
		return nil, errors.Join(fmt.Errorf("open recording: %w", err), t.Close())
	}
	if t.size, err = f.Seek(0, io.SeekEnd); err != nil {
		return nil, errors.Join(fmt.Errorf("open recording: %w", err), t.Close())
	}
	return t, nil
}

type tempFile struct {
	*os.File
	size int64
}

// Size implements recording.File.
func (t *tempFile) Size() int64 { return t.size }

// Close removes the copy.
func (t *tempFile) Close() error { return errors.Join(t.File.Close(), os.Remove(t.Name())) }
