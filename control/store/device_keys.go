package store

import (
	"context"

	"weft/internal/kind"
)

// OfferDeviceKey notes the key that a device wants to change to; it replaces an earlier offer. The key in force stays.
func (tx *Tx) OfferDeviceKey(ctx context.Context, id, publicKey string) (Device, error) {
	d, err := tx.Device(ctx, id)
	if err != nil {
		return d, err
	}
	if d.NextPublicKey == publicKey {
		return d, nil // asked again because the answer was lost
	}
	if err := tx.checkPublicKeyFree(ctx, publicKey); err != nil {
		return d, err
	}
	d.NextPublicKey, d.UpdatedAt = publicKey, tx.at
	if _, err := tx.exec(ctx, `UPDATE devices SET next_public_key = $1, updated_at = $2 WHERE id = $3`, publicKey, tx.at, id); err != nil {
		return d, err
	}
	return d, tx.changed(ctx, Devices, "device.offer_key", id, d)
}

// ConfirmDeviceKey makes the offered key the device's only one. To confirm the key in force changes nothing; any other
// key is a conflict.
func (tx *Tx) ConfirmDeviceKey(ctx context.Context, id, publicKey string) (Device, error) {
	d, err := tx.Device(ctx, id)
	switch {
	case err != nil:
		return d, err
	case d.PublicKey == publicKey:
		return d, nil
	case d.NextPublicKey == "" || d.NextPublicKey != publicKey:
		return d, kind.New(kind.Conflict, "this key was not offered, or another was offered since").WithHint("offer the key again")
	}
	d.PublicKey, d.NextPublicKey, d.UpdatedAt = publicKey, "", tx.at
	if _, err := tx.exec(ctx, `UPDATE devices SET public_key = $1, next_public_key = '', updated_at = $2 WHERE id = $3`,
		publicKey, tx.at, id); err != nil {
		return d, err
	}
	return d, tx.changed(ctx, Devices, "device.change_key", id, d)
}
