// Command carprobe is go-car for the interoperability tests: it does with go-car's library what the `car` tool does with it
// (list, inspect, get, filter by a walk, wrap, unwrap), and says what it found as JSON.
//
// go-car hashes every block that it reads against its CID; importing go-multihash registers blake3 for it.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ipfs/go-cid"
	car "github.com/ipld/go-car/v2"
	"github.com/ipld/go-car/v2/storage"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/linking"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	selectors "github.com/ipld/go-ipld-prime/traversal/selector/parse"
	_ "github.com/multiformats/go-multihash"
)

type section struct {
	Cid    string `json:"cid"`
	Bytes  int    `json:"bytes"`
	Sha256 string `json:"sha256"`
	Same   bool   `json:"same"`
}

var commands = map[string]struct {
	arguments int
	run       func([]string) error
}{
	"list":    {1, func(a []string) error { return list(a[0]) }},
	"inspect": {1, func(a []string) error { return inspect(a[0]) }},
	"get":     {2, func(a []string) error { return get(a[0], a[1]) }},
	"copy":    {2, func(a []string) error { return rewrite(a[0], a[1], false) }},
	"reverse": {2, func(a []string) error { return rewrite(a[0], a[1], true) }},
	"walk":    {2, func(a []string) error { return walk(a[0], a[1]) }},
	"wrap":    {2, func(a []string) error { return car.WrapV1File(a[0], a[1]) }},
	"unwrap":  {2, func(a []string) error { return car.ExtractV1File(a[0], a[1]) }},
}

func main() {
	if err := dispatch(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "carprobe:", err)
		os.Exit(1)
	}
}

func dispatch(arguments []string) error {
	if len(arguments) == 0 {
		return errors.New("usage: carprobe COMMAND ARCHIVE [CID|OUT]")
	}
	command, found := commands[arguments[0]]
	if !found || len(arguments) != command.arguments+1 {
		return fmt.Errorf("no command %q with %d arguments", arguments[0], len(arguments)-1)
	}
	return command.run(arguments[1:])
}

// each calls visit with every block in the order of the archive; its hash has been checked by then.
func each(path string, visit func(cid.Cid, []byte) error) ([]cid.Cid, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	reader, err := car.NewBlockReader(file)
	if err != nil {
		return nil, err
	}
	for {
		block, err := reader.Next()
		if err == io.EOF {
			return reader.Roots, nil
		}
		if err != nil {
			return nil, err
		}
		if err := visit(block.Cid(), block.RawData()); err != nil {
			return nil, err
		}
	}
}

func list(path string) error {
	out := json.NewEncoder(os.Stdout)
	roots, err := each(path, func(id cid.Cid, data []byte) error {
		same, err := reencodes(data)
		if err != nil {
			return fmt.Errorf("block %s: %w", id, err)
		}
		digest := sha256.Sum256(data)
		return out.Encode(section{id.String(), len(data), hex.EncodeToString(digest[:]), same})
	})
	if err != nil {
		return err
	}
	return out.Encode(map[string]any{"roots": texts(roots)})
}

// reencodes tells whether a block, decoded and encoded again, gives the same bytes.
// ExperimentalDeterminism is not set: it refuses a longer key that sorts before the shorter one in front of it.
func reencodes(data []byte) (bool, error) {
	node := basicnode.Prototype.Any.NewBuilder()
	if err := dagcbor.Decode(node, bytes.NewReader(data)); err != nil {
		return false, err
	}
	var again bytes.Buffer
	err := dagcbor.Encode(node.Build(), &again)
	return bytes.Equal(data, again.Bytes()), err
}

func inspect(path string) error {
	reader, err := car.OpenReader(path)
	if err != nil {
		return err
	}
	defer reader.Close()
	stats, err := reader.Inspect(true)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"version": stats.Version, "roots": texts(stats.Roots), "roots_present": stats.RootsPresent,
		"blocks": stats.BlockCount, "codecs": stats.CodecCounts, "hashes": stats.MhTypeCounts,
		"longest": stats.MaxBlockLength,
	})
}

func get(path, text string) error {
	id, err := cid.Parse(text)
	if err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	store, err := storage.OpenReadable(file)
	if err != nil {
		return err
	}
	data, err := store.Get(context.Background(), id.KeyString())
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(data)
	return err
}

func rewrite(path, out string, backwards bool) error {
	type block struct {
		id   cid.Cid
		data []byte
	}
	var blocks []block
	roots, err := each(path, func(id cid.Cid, data []byte) error {
		blocks = append(blocks, block{id, data})
		return nil
	})
	if err != nil {
		return err
	}
	file, err := os.Create(out)
	if err != nil {
		return err
	}
	defer file.Close()
	store, err := storage.NewWritable(file, roots, car.WriteAsCarV1(true))
	if err != nil {
		return err
	}
	for n := range blocks {
		next := blocks[n]
		if backwards {
			next = blocks[len(blocks)-1-n]
		}
		if err := store.Put(context.Background(), next.id.KeyString(), next.data); err != nil {
			return err
		}
	}
	return store.Finalize()
}

// walk writes what go-car meets on a walk over all links from the root, depth first.
func walk(path, out string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	store, err := storage.OpenReadable(file)
	if err != nil {
		return err
	}
	roots := store.Roots()
	if len(roots) != 1 {
		return fmt.Errorf("%d roots", len(roots))
	}
	made, err := os.Create(out)
	if err != nil {
		return err
	}
	defer made.Close()
	links := linkSystem(store)
	everything := selectors.CommonSelector_ExploreAllRecursively
	_, err = car.TraverseV1(context.Background(), &links, roots[0], everything, made)
	return err
}

func linkSystem(store storage.ReadableCar) linking.LinkSystem {
	links := cidlink.DefaultLinkSystem()
	links.SetReadStorage(store)
	return links
}

func texts(ids []cid.Cid) []string {
	found := make([]string, 0, len(ids))
	for _, id := range ids {
		found = append(found, id.String())
	}
	return found
}
