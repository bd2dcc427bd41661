"""The files that the detector is tried on: a dictionary of name to bytes, made from text here and by the standard library."""

import bz2
import gzip
import io
import json
import lzma
import marshal
import pickle
import plistlib
import random
import sqlite3
import struct
import sys
import tarfile
import wave
import zipfile
import zlib

TEXTS = {
    "python": "import os\n\n\nclass Walker:\n    def __init__(self, root):\n        self.root = root\n\n    def files(self):\n        for folder, _, names in os.walk(self.root):\n            yield from (os.path.join(folder, n) for n in names)\n",
    "rust": "use std::collections::HashMap;\n\n#[derive(Debug, Clone)]\npub struct Counter {\n    seen: HashMap<String, u64>,\n}\n\nimpl Counter {\n    pub fn add(&mut self, word: &str) -> u64 {\n        let n = self.seen.entry(word.to_owned()).or_insert(0);\n        *n += 1;\n        *n\n    }\n}\n",
    "c": "#include <stdio.h>\n#include <stdlib.h>\n\nstatic int add(int a, int b)\n{\n    return a + b;\n}\n\nint main(int argc, char **argv)\n{\n    if (argc < 3)\n        return EXIT_FAILURE;\n    printf(\"%d\\n\", add(atoi(argv[1]), atoi(argv[2])));\n    return 0;\n}\n",
    "cpp": "#include <iostream>\n#include <memory>\n#include <vector>\n\nnamespace shapes {\ntemplate <typename T>\nclass Stack {\n public:\n  void push(T value) { items_.push_back(std::move(value)); }\n  bool empty() const noexcept { return items_.empty(); }\n private:\n  std::vector<T> items_;\n};\n}  // namespace shapes\n\nint main() {\n  auto s = std::make_unique<shapes::Stack<int>>();\n  s->push(3);\n  std::cout << s->empty() << std::endl;\n}\n",
    "java": "package org.example;\n\nimport java.util.List;\n\npublic final class Main {\n    private final List<String> names;\n\n    public Main(List<String> names) {\n        this.names = names;\n    }\n\n    public static void main(String[] args) {\n        System.out.println(new Main(List.of(args)).names.size());\n    }\n}\n",
    "go": "package main\n\nimport (\n\t\"fmt\"\n\t\"net/http\"\n)\n\nfunc main() {\n\thttp.HandleFunc(\"/\", func(w http.ResponseWriter, r *http.Request) {\n\t\tfmt.Fprintf(w, \"hello %s\", r.URL.Path)\n\t})\n\tif err := http.ListenAndServe(\":8080\", nil); err != nil {\n\t\tpanic(err)\n\t}\n}\n",
    "javascript": "'use strict';\n\nconst fs = require('fs');\n\nfunction readAll(paths) {\n  return Promise.all(paths.map((p) => fs.promises.readFile(p, 'utf8')));\n}\n\nmodule.exports = { readAll };\nreadAll(process.argv.slice(2)).then((texts) => console.log(texts.join('\\n')));\n",
    "typescript": "import { Injectable } from '@angular/core';\n\nexport interface User {\n  readonly id: number;\n  name?: string;\n}\n\n@Injectable({ providedIn: 'root' })\nexport class Users {\n  private readonly all: Map<number, User> = new Map();\n\n  get(id: number): User | undefined {\n    return this.all.get(id);\n  }\n}\n",
    "ruby": "require 'set'\n\nmodule Shop\n  class Cart\n    attr_reader :items\n\n    def initialize\n      @items = Set.new\n    end\n\n    def add(item)\n      @items << item unless item.nil?\n      self\n    end\n  end\nend\n\nputs Shop::Cart.new.add('tea').items.to_a.inspect\n",
    "php": "<?php\n\nnamespace App\\Http;\n\nuse App\\Models\\User;\n\nclass UserController extends Controller\n{\n    public function show(int $id)\n    {\n        $user = User::findOrFail($id);\n        return view('user.profile', ['user' => $user]);\n    }\n}\n",
    "perl": "#!/usr/bin/perl\nuse strict;\nuse warnings;\n\nmy %count;\nwhile (my $line = <STDIN>) {\n    chomp $line;\n    $count{$_}++ for split /\\s+/, $line;\n}\nforeach my $word (sort { $count{$b} <=> $count{$a} } keys %count) {\n    printf \"%5d %s\\n\", $count{$word}, $word;\n}\n",
    "lua": "local Stack = {}\nStack.__index = Stack\n\nfunction Stack.new()\n  return setmetatable({ items = {}, size = 0 }, Stack)\nend\n\nfunction Stack:push(value)\n  self.size = self.size + 1\n  self.items[self.size] = value\nend\n\nlocal s = Stack.new()\ns:push(42)\nprint(s.size)\n\nreturn Stack\n",
    "shell": "#!/bin/bash\nset -euo pipefail\n\nfor file in \"$@\"; do\n  if [[ -f \"$file\" ]]; then\n    echo \"packing ${file}\"\n    gzip -9 -- \"$file\"\n  else\n    echo \"no such file: $file\" >&2\n    exit 1\n  fi\ndone\n",
    "batch": "@echo off\r\nsetlocal enabledelayedexpansion\r\nset COUNT=0\r\nfor %%f in (*.txt) do (\r\n    set /a COUNT+=1\r\n    echo %%f\r\n)\r\nif %COUNT%==0 goto none\r\necho !COUNT! files\r\ngoto :eof\r\n:none\r\necho nothing found\r\npause\r\n",
    "powershell": "[CmdletBinding()]\nparam(\n    [Parameter(Mandatory = $true)]\n    [string]$Path\n)\n\nGet-ChildItem -Path $Path -Recurse |\n    Where-Object { $_.Length -gt 1MB } |\n    Sort-Object -Property Length -Descending |\n    Select-Object -First 10 Name, Length |\n    Format-Table -AutoSize\nWrite-Host \"done\" -ForegroundColor Green\n",
    "sql": "CREATE TABLE customers (\n  id INTEGER PRIMARY KEY,\n  name VARCHAR(100) NOT NULL,\n  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP\n);\n\nINSERT INTO customers (id, name) VALUES (1, 'Ada');\n\nSELECT c.name, COUNT(o.id) AS orders\nFROM customers c\nLEFT JOIN orders o ON o.customer_id = c.id\nGROUP BY c.name\nHAVING COUNT(o.id) > 3;\n",
    "html": "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n  <meta charset=\"utf-8\">\n  <title>A page</title>\n  <link rel=\"stylesheet\" href=\"style.css\">\n</head>\n<body>\n  <h1>Hello</h1>\n  <p class=\"x\">Text with a <a href=\"/there\">link</a>.</p>\n</body>\n</html>\n",
    "css": "body {\n  margin: 0 auto;\n  font-family: sans-serif;\n  color: #333;\n}\n\n.nav > li:hover,\n#main a {\n  display: inline-block;\n  padding: 4px 8px;\n}\n\n@media (max-width: 600px) {\n  .nav { display: none; }\n}\n",
    "scss": "$primary: #3366cc;\n\n@mixin rounded($radius: 4px) {\n  border-radius: $radius;\n}\n\n.card {\n  @include rounded(8px);\n  color: darken($primary, 10%);\n  &:hover {\n    color: $primary;\n  }\n  .title {\n    @extend .bold;\n  }\n}\n",
    "xml": "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<catalog>\n  <book id=\"b1\">\n    <author>Gambardella, Matthew</author>\n    <price currency=\"EUR\">44.95</price>\n  </book>\n  <book id=\"b2\">\n    <author>Ralls, Kim</author>\n    <price currency=\"EUR\">5.95</price>\n  </book>\n</catalog>\n",
    "svg": "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"100\" height=\"100\" viewBox=\"0 0 100 100\">\n  <circle cx=\"50\" cy=\"50\" r=\"40\" fill=\"red\" stroke=\"black\" stroke-width=\"3\"/>\n  <path d=\"M10 10 L90 90 Z\" fill=\"none\"/>\n</svg>\n",
    "json": json.dumps({"name": "extension", "version": "1.2.3", "dependencies": {"a": "^1", "b": "~2"}, "list": [1, 2.5, None, True]}, indent=2),
    "jsonl": "".join(json.dumps({"id": n, "text": "line %d" % n, "score": n / 7}) + "\n" for n in range(40)),
    "yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  labels:\n    app: web\nspec:\n  replicas: 3\n  template:\n    spec:\n      containers:\n        - name: web\n          image: nginx:1.25\n          ports:\n            - containerPort: 80\n",
    "toml": "[package]\nname = \"thing\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\nserde = { version = \"1\", features = [\"derive\"] }\ntokio = \"1.38\"\n\n[profile.release]\nlto = true\n",
    "ini": "[database]\nhost = localhost\nport = 5432\nuser = app\n\n[logging]\nlevel = info\nfile = /var/log/app.log\n; a remark\nrotate = yes\n",
    "csv": "id,name,city,amount\n" + "".join("%d,Name %d,City %d,%d.50\n" % (n, n, n % 7, n * 3) for n in range(60)),
    "tsv": "id\tname\tcity\tamount\n" + "".join("%d\tName %d\tCity %d\t%d\n" % (n, n, n % 7, n * 3) for n in range(60)),
    "markdown": "# A project\n\nIt does *one* thing.\n\n## Install\n\n```sh\ncargo install thing\n```\n\n- [x] fast\n- [ ] small\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nSee [the guide](docs/guide.md).\n",
    "rst": "=========\nA project\n=========\n\n.. toctree::\n   :maxdepth: 2\n\n   install\n   usage\n\nInstall\n=======\n\n.. code-block:: bash\n\n   pip install thing\n\n.. note:: This is a note about :ref:`usage`.\n",
    "latex": "\\documentclass[11pt]{article}\n\\usepackage{amsmath}\n\\title{On things}\n\\author{A. Author}\n\\begin{document}\n\\maketitle\n\\section{Introduction}\nLet $x \\in \\mathbb{R}$ be given. Then\n\\begin{equation}\n  \\int_0^1 x^2 \\, dx = \\frac{1}{3}.\n\\end{equation}\n\\cite{knuth}\n\\end{document}\n",
    "makefile": "CC = gcc\nCFLAGS = -O2 -Wall\nOBJS = main.o util.o\n\n.PHONY: all clean\n\nall: prog\n\nprog: $(OBJS)\n\t$(CC) $(CFLAGS) -o $@ $^\n\n%.o: %.c\n\t$(CC) $(CFLAGS) -c $<\n\nclean:\n\trm -f $(OBJS) prog\n",
    "cmake": "cmake_minimum_required(VERSION 3.16)\nproject(thing VERSION 1.0 LANGUAGES CXX)\n\nset(CMAKE_CXX_STANDARD 17)\nfind_package(Threads REQUIRED)\nadd_executable(thing src/main.cpp)\ntarget_link_libraries(thing PRIVATE Threads::Threads)\ninstall(TARGETS thing DESTINATION bin)\n",
    "dockerfile": "FROM debian:bookworm-slim AS build\nRUN apt-get update && apt-get install -y --no-install-recommends gcc make \\\n    && rm -rf /var/lib/apt/lists/*\nWORKDIR /src\nCOPY . .\nRUN make\n\nFROM debian:bookworm-slim\nCOPY --from=build /src/prog /usr/local/bin/prog\nEXPOSE 8080\nENTRYPOINT [\"prog\"]\n",
    "diff": "diff --git a/src/main.c b/src/main.c\nindex 83db48f..bf269f4 100644\n--- a/src/main.c\n+++ b/src/main.c\n@@ -1,6 +1,7 @@\n #include <stdio.h>\n \n int main(void) {\n-    puts(\"hello\");\n+    puts(\"hello, world\");\n+    puts(\"again\");\n     return 0;\n }\n",
    "haskell": "module Main (main) where\n\nimport qualified Data.Map.Strict as Map\nimport Data.Maybe (fromMaybe)\n\ndata Shape = Circle Double | Square Double\n  deriving (Show, Eq)\n\narea :: Shape -> Double\narea (Circle r) = pi * r * r\narea (Square a) = a * a\n\nmain :: IO ()\nmain = mapM_ (print . area) [Circle 1, Square 2]\n",
    "kotlin": "package org.example\n\nimport kotlinx.coroutines.*\n\ndata class User(val id: Int, val name: String?)\n\nfun main() = runBlocking {\n    val users = listOf(User(1, \"Ada\"), User(2, null))\n    users.filter { it.name != null }.forEach { println(\"${it.id}: ${it.name}\") }\n    launch { delay(10L) }\n}\n",
    "swift": "import Foundation\nimport UIKit\n\nstruct Point: Codable {\n    var x: Double\n    var y: Double\n}\n\nclass ViewController: UIViewController {\n    @IBOutlet weak var label: UILabel!\n\n    override func viewDidLoad() {\n        super.viewDidLoad()\n        guard let text = label.text else { return }\n        print(\"loaded \\(text)\")\n    }\n}\n",
    "scala": "package org.example\n\nimport scala.collection.mutable\n\nsealed trait Tree\ncase class Leaf(value: Int) extends Tree\ncase class Node(left: Tree, right: Tree) extends Tree\n\nobject Main extends App {\n  def sum(t: Tree): Int = t match {\n    case Leaf(v) => v\n    case Node(l, r) => sum(l) + sum(r)\n  }\n  println(sum(Node(Leaf(1), Leaf(2))))\n}\n",
    "cs": "using System;\nusing System.Collections.Generic;\nusing System.Linq;\n\nnamespace Example\n{\n    public class Program\n    {\n        private readonly List<string> _names = new List<string>();\n\n        public static void Main(string[] args)\n        {\n            var longest = args.OrderByDescending(a => a.Length).FirstOrDefault();\n            Console.WriteLine($\"longest: {longest}\");\n        }\n    }\n}\n",
    "elixir": "defmodule Counter do\n  use GenServer\n\n  def start_link(opts \\\\ []) do\n    GenServer.start_link(__MODULE__, 0, opts)\n  end\n\n  @impl true\n  def init(count), do: {:ok, count}\n\n  @impl true\n  def handle_call(:next, _from, count) do\n    {:reply, count, count + 1}\n  end\nend\n",
    "erlang": "-module(counter).\n-behaviour(gen_server).\n-export([start_link/0, init/1, handle_call/3]).\n\nstart_link() ->\n    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).\n\ninit([]) ->\n    {ok, 0}.\n\nhandle_call(next, _From, N) ->\n    {reply, N, N + 1}.\n",
    "clojure": "(ns example.core\n  (:require [clojure.string :as str]))\n\n(defn word-count [text]\n  (->> (str/split text #\"\\s+\")\n       (map str/lower-case)\n       (frequencies)))\n\n(defn -main [& args]\n  (println (word-count (first args))))\n",
    "fortran": "program average\n  implicit none\n  integer :: i, n\n  real, dimension(100) :: x\n  n = 100\n  do i = 1, n\n     x(i) = real(i) ** 2\n  end do\n  write(*, *) 'average:', sum(x) / n\nend program average\n",
    "r": "library(ggplot2)\n\ndata <- read.csv(\"measures.csv\", stringsAsFactors = FALSE)\nmodel <- lm(weight ~ height + age, data = data)\nsummary(model)\nggplot(data, aes(x = height, y = weight)) +\n  geom_point() +\n  geom_smooth(method = \"lm\")\n",
    "verilog": "module counter #(parameter WIDTH = 8) (\n    input wire clk,\n    input wire reset,\n    output reg [WIDTH-1:0] count\n);\n    always @(posedge clk or posedge reset) begin\n        if (reset)\n            count <= {WIDTH{1'b0}};\n        else\n            count <= count + 1'b1;\n    end\nendmodule\n",
    "srt": "1\n00:00:01,000 --> 00:00:04,000\nHello there.\n\n2\n00:00:05,500 --> 00:00:08,000\nGeneral remarks follow.\n\n3\n00:00:09,000 --> 00:00:12,250\nAnd an end.\n",
    "eml": "From: Ada <ada@example.org>\nTo: Bob <bob@example.org>\nSubject: Lunch\nDate: Mon, 3 Jun 2024 10:00:00 +0200\nMessage-ID: <1@example.org>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\nHi Bob,\n\nlunch at noon?\n\nAda\n",
    "ics": "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Example//EN\r\nBEGIN:VEVENT\r\nUID:1@example.org\r\nDTSTART:20240603T100000Z\r\nDTEND:20240603T110000Z\r\nSUMMARY:Meeting\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
    "rtf": "{\\rtf1\\ansi\\deff0 {\\fonttbl {\\f0 Times New Roman;}}\n\\f0\\fs24 This is {\\b bold} and {\\i italic}.\\par\nAnother paragraph.\\par\n}\n",
    "proto": "syntax = \"proto3\";\n\npackage example.v1;\n\nimport \"google/protobuf/timestamp.proto\";\n\nmessage User {\n  int64 id = 1;\n  string name = 2;\n  repeated string tags = 3;\n}\n\nservice Users {\n  rpc Get(User) returns (User);\n}\n",
    "ignorefile": "/target\n*.o\n*.log\nnode_modules/\n.env\n!keep.log\n**/*.rs.bk\nCargo.lock\n",
    "txt": "It was a quiet morning in the village. The baker had opened his shop, and the smell of bread went down the street. Nobody was in a hurry, and the dog slept in the sun.\n" * 3,
    "german": "Es war ein stiller Morgen. Die Bäckerei hatte gerade geöffnet, und der Geruch von Brötchen zog durch die Straße. Niemand hatte es eilig.\n" * 3,
}


def images_and_media():
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + bytes((x * y) % 256 for x in range(32) for _ in range(3)) for y in range(32))
    yield "png", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    pixels = bytes((x * 7) % 256 for x in range(16 * 16 * 3))
    yield "bmp", b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 16, 16, 1, 24, 0, len(pixels), 2835, 2835, 0, 0) + pixels
    yield "gif", b"GIF89a" + struct.pack("<HHBBB", 2, 2, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + b"\x2c\0\0\0\0\x02\0\x02\0\0\x02\x02\x44\x01\0\x3b"
    sound = io.BytesIO()
    with wave.open(sound, "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(b"".join(struct.pack("<h", (n * 331) % 20000 - 10000) for n in range(4000)))
    yield "wav", sound.getvalue()
    yield "midi", b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96) + b"MTrk" + struct.pack(">I", 12) + b"\0\x90\x3c\x40\x60\x80\x3c\x40\0\xff\x2f\0"


def archives(texts):
    every = "".join(texts.values()).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        for name, text in texts.items():
            out.writestr(zipfile.ZipInfo("folder/" + name + ".txt"), text)
    yield "zip", packed.getvalue()
    jar = io.BytesIO()
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr(zipfile.ZipInfo("META-INF/MANIFEST.MF"), "Manifest-Version: 1.0\nMain-Class: org.example.Main\n")
        out.writestr(zipfile.ZipInfo("org/example/Main.class"), b"\xca\xfe\xba\xbe\0\0\0\x41" + every[:400])
    yield "jar", jar.getvalue()
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w") as out:
        for name, text in list(texts.items())[:8]:
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            out.addfile(entry, io.BytesIO(text.encode()))
    yield "tar", tarred.getvalue()
    yield "gzip", gzip.compress(every, mtime=0)
    yield "bzip", bz2.compress(every)
    yield "xz", lzma.compress(every)
    yield "zlib", zlib.compress(every)


def documents_and_programs():
    body = b"BT /F1 24 Tf 72 720 Td (Hello) Tj ET"
    yield "pdf", b"%%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R >>\nendobj\n4 0 obj\n<< /Length %d >>\nstream\n%s\nendstream\nendobj\nxref\n0 5\n0000000000 65535 f \ntrailer\n<< /Size 5 /Root 1 0 R >>\nstartxref\n300\n%%%%EOF\n" % (len(body), body)
    with open(sys.executable, "rb") as program:
        yield "program", program.read(300_000)
    yield "pickle", pickle.dumps({"a": list(range(50)), "b": ("x", 2.5, None)}, protocol=4)
    yield "pyc", b"\xcb\x0d\x0d\x0a" + bytes(12) + marshal.dumps(compile(TEXTS["python"], "w.py", "exec"))
    yield "plist", plistlib.dumps({"Name": "x", "List": [1, 2, 3], "Flag": True})
    yield "binary plist", plistlib.dumps({"Name": "x", "List": [1, 2, 3]}, fmt=plistlib.FMT_BINARY)
    base = sqlite3.connect(":memory:")
    base.execute("create table t (id integer primary key, name text)")
    base.executemany("insert into t (name) values (?)", [("name %d" % n,) for n in range(50)])
    base.commit()
    yield "sqlite", base.serialize()
    yield "wasm", b"\0asm\1\0\0\0\1\x07\1\x60\2\x7f\x7f\1\x7f\3\2\1\0\7\7\1\3add\0\0\n\t\1\7\0\x20\0\x20\1\x6a\x0b"
    yield "npy", b"\x93NUMPY\1\0v\0" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (8,), }".ljust(117) + b"\n" + struct.pack("<8d", *range(8))
    yield "pcap", struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + b"".join(struct.pack("<IIII", 1700000000 + n, 0, 60, 60) + bytes(range(60)) for n in range(6))


def edges(noise):
    yield "empty", b""
    for size in (1, 7, 8, 9):
        yield "ascii of %d" % size, b"abcdefghi"[:size]
        yield "high bytes of %d" % size, b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7"[:size]
    yield "white space", b" \t\r\n\x0b\x0c" * 2000
    yield "white space, then text", b" " * 4096 + b"print('hello world')\n" * 10
    yield "less white space, then text", b"\n" * 4090 + b"print('hello world')\n" * 10
    yield "text, then white space", b"print('hello world')\n" * 10 + b"\n" * 5000
    yield "a cut letter at the end of the block", b" " * 4095 + "ä".encode() + b" " * 10
    yield "zeros", bytes(3000)
    for size in (100, 2048, 4096, 4097, 20000):
        yield "random bytes of %d" % size, noise.randbytes(size)
        yield "random text of %d" % size, "".join(noise.choice("abcdefghijklmnopqrstuvwxyz0123456789+/") for _ in range(size)).encode()


def all_samples():
    noise = random.Random(20240603)
    whole = {name: text.encode() for name, text in TEXTS.items()}
    whole.update(images_and_media())
    whole.update(archives(TEXTS))
    whole.update(documents_and_programs())
    samples = dict(whole)
    for name, content in whole.items():
        samples[name + ", its first third"] = content[: len(content) // 3]
        samples[name + ", its second half"] = content[len(content) // 2 :]
        samples[name + ", over and over"] = (content * (9000 // len(content) + 1))[:9000]
        if len(content) > 64:
            broken = bytearray(content)
            for _ in range(12):
                broken[noise.randrange(len(broken))] = noise.randrange(256)
            samples[name + ", with changed bytes"] = bytes(broken)
    samples.update(edges(noise))
    return samples
