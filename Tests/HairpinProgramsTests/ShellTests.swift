import HairpinEngine
import Testing

@testable import HairpinPrograms

/// What each script prints, and its status, as dash prints it.
struct ShellTests {
    struct Case: Sendable { var script: String, output: String, error = "", status: Int32 = 0 }

    @Test(
        "words, quoting and expansion",
        arguments: [
            Case(script: "echo a  'b  c' \"d  e\" f\\ g", output: "a b  c d  e f g\n"),
            Case(script: "x='1  2'; echo $x \"$x\"", output: "1 2 1  2\n"),
            Case(script: "echo ${x:-default} ${x-other}; y=; echo [${y:-e}] [${y-e}] ${y:+no}${#y}", output: "default other\n[e] [] 0\n"),
            Case(script: "f=a.tar.gz; echo ${f%.*} ${f%%.*} ${f#*.} ${f##*.}", output: "a.tar a tar.gz gz\n"),
            Case(script: "echo $(echo one; echo two) \"$(printf 'a\\nb\\n')\"", output: "one two a\nb\n"),
            Case(script: "echo `echo in \\`echo deep\\``", output: "in deep\n"),
            Case(script: "echo $((1 + 2 * 3)) $(( (1+2)*3 % 4 )) $((1<2 && 3!=3)) $((7>>1)) $((i=5)) $i", output: "7 1 0 3 5 5\n"),
            Case(script: "set -- a 'b c'; echo $# $1 \"$2\"; for i in \"$@\"; do echo \"<$i>\"; done; shift; echo $*", output: "2 a b c\n<a>\n<b c>\nb c\n"),
            Case(script: "echo {1..3} x{a,b}y {3..1} '{1..3}'", output: "1 2 3 xay xby 3 2 1 {1..3}\n"),
            Case(script: "echo a # comment\necho 'b # c'#d", output: "a\nb # c#d\n"),
            Case(script: "printf '%s-%03d\\n' a 7 b 8", output: "a-007\nb-008\n"),
        ])
    func expansion(_ item: Case) { check(item) }

    @Test(
        "lists, conditions and loops",
        arguments: [
            Case(script: "true && echo yes || echo no; false && echo yes || echo no", output: "yes\nno\n"),
            Case(script: "! true; echo $?; ! false; echo $?", output: "1\n0\n"),
            Case(script: "for i in 1 2 3; do echo $i; done", output: "1\n2\n3\n"),
            Case(script: "for i in $(seq 1 5); do if [ $i -eq 2 ]; then continue; fi; [ $i = 4 ] && break; echo $i; done", output: "1\n3\n"),
            Case(script: "i=0; while [ $i -lt 3 ]; do i=$((i+1)); echo $i; done; until [ $i -eq 0 ]; do i=$((i-1)); done; echo $i", output: "1\n2\n3\n0\n"),
            Case(script: "if [ a = b ]; then echo 1; elif test -n x; then echo 2; else echo 3; fi", output: "2\n"),
            Case(script: "case abc in x) echo 1;; a*|z) echo 2;; esac", output: "2\n"),
            Case(script: "(x=1; exit 3); echo $? [$x]; { y=2; }; echo $y", output: "3 []\n2\n"),
            Case(script: "f() { echo in $1; return 4; }; f a; echo $?", output: "in a\n4\n"),
            Case(script: "set -e; false || true; if false; then :; fi; echo on; false; echo off", output: "on\n", status: 1),
            Case(script: "sleep 1 & wait; echo done", output: "done\n"),
            Case(script: "false & p=$!; wait $p; echo $?", output: "1\n"),
            Case(script: "for s in 9 TERM INT; do sleep 100 & kill -$s $!; wait $!; echo $?; done; timeout -s KILL 1 sleep 5; echo $?", output: "137\n143\n130\n137\n"),
            Case(script: "exit 7; echo no", output: "", status: 7),
            Case(script: "[ 1 -gt 0 -a ! -z x ] && echo ok; [ -f /none ] || echo none", output: "ok\nnone\n"),
        ])
    func control(_ item: Case) { check(item) }

    @Test(
        "sed, expr, xargs and find, as the GNU tools answer",
        arguments: [
            Case(script: "printf 'a b a\\nc\\n' | sed 's/a/x/'", output: "x b a\nc\n"),
            Case(script: "printf 'a b a\\nc\\n' | sed 's/a/x/g;2d'", output: "x b x\n"),
            Case(script: "printf '1\\n2\\n3\\n4\\n' | sed -n '2,3p'", output: "2\n3\n"),
            Case(script: "printf '1\\n2\\n3\\n4\\n' | sed -n '$p;1='", output: "1\n4\n"),
            Case(script: "printf 'a=1\\nb=2\\n' | sed -n 's/^\\([a-z]*\\)=\\(.*\\)$/\\2-\\1 [&]/p'", output: "1-a [a=1]\n2-b [b=2]\n"),
            Case(script: "printf 'ab12\\n' | sed -E 's/([a-z]+)([0-9]+)/\\2\\1/'", output: "12ab\n"),
            Case(script: "printf '1\\n2\\n3\\n4\\n5\\n' | sed '/2/,/4/d'", output: "1\n5\n"),
            Case(script: "printf '1\\n2\\n3\\n' | sed -e 2q -e 's/1/one/'", output: "one\n2\n"),
            Case(script: "printf '1\\n2\\n3\\n' | sed '/2/!d'", output: "2\n"),
            Case(script: "printf '/a/b\\n' | sed 's|/|:|2; s,a,A,'", output: "/A:b\n"),
            Case(script: "printf 'aaa\\n' | sed 's/a*/x/g'", output: "x\n"),
            Case(script: "printf 'hello\\n' | sed 's/l/L/2;s/x*/-/g'", output: "-h-e-l-L-o-\n"),
            Case(script: "printf 'ABC\\n' | sed 's/b/./I'", output: "A.C\n"),
            Case(script: "printf '1\\n2\\n3\\n4\\n' | sed '2,1d;3,9s/$/!/'", output: "1\n3!\n4!\n"),
            Case(script: "sed 's/a' </dev/null; echo $?", output: "1\n", error: "sed: -e expression #1, char 3: unterminated `s' command\n"),
            Case(script: "expr 1 + 2 \\* 3; expr 7 / 2; expr 7 % 4; expr 3 - 5", output: "7\n3\n3\n-2\n"),
            Case(script: "expr 2 \\> 10; expr abc \\< abd; expr 0; echo $?", output: "0\n1\n0\n1\n"),
            Case(script: "expr abc : 'a\\(.*\\)'; expr abc : 'a.*'; expr abc : x; echo $?", output: "bc\n3\n0\n1\n"),
            Case(script: "expr \\( 1 + 2 \\) \\* 3; expr '' \\| b; expr a \\& 0; expr length hello", output: "9\nb\n0\n5\n"),
            Case(script: "expr 1 / 0; echo $?; expr a + 1; echo $?", output: "2\n2\n", error: "expr: division by zero\nexpr: non-integer argument\n"),
            Case(script: "printf '1 2\\n3\\n' | xargs", output: "1 2 3\n"),
            Case(script: "printf '1 2\\n3\\n' | xargs -n 2 echo a", output: "a 1 2\na 3\n"),
            Case(script: "printf 'x\\ny z\\n' | xargs -I % echo '[%] %'", output: "[x] x\n[y z] y z\n"),
            Case(script: "printf '' | xargs -r echo none; printf '' | xargs echo one", output: "one\n"),
            Case(script: "printf '1\\n' | xargs false; echo $?", output: "123\n"),
            Case(script: "printf '3\\n1\\n' | xargs -n1 sh -c 'echo $0; exit $0'; echo $?", output: "3\n1\n123\n"),
            Case(
                script: "mkdir -p /tmp/d/e; echo x > /tmp/d/a.txt; echo y > /tmp/d/e/b.log; find /tmp/d; find /tmp/d -name '*.txt'; find /tmp/d -type d -maxdepth 1; cd /tmp/d; find . -name '?.log'",
                output: "/tmp/d\n/tmp/d/a.txt\n/tmp/d/e\n/tmp/d/e/b.log\n/tmp/d/a.txt\n/tmp/d\n/tmp/d/e\n./e/b.log\n"),
            Case(script: "echo 'a b' > /tmp/f; sed -i 's/b/c/' /tmp/f; cat /tmp/f; sed 's/\\(/x/' /tmp/f", output: "a c\n", error: "sed: -e expression #1, char 7: Invalid preceding regular expression\n", status: 1),
            Case(script: "find /none; sed y/a/b/ /tmp/f", output: "", error: "find: ‘/none’: No such file or directory\nsed: -e expression #1, char 1: unknown command: `y'\n", status: 1),
        ])
    func texts(_ item: Case) { check(item) }

    @Test(
        "pipelines and redirections",
        arguments: [
            Case(script: "printf 'b\\na\\nb\\n' | sort | uniq -c | sort -rn", output: "      2 b\n      1 a\n"),
            Case(script: "for i in 1 2 3; do echo $i; done | tail -n 1", output: "3\n"),
            Case(script: "echo one > /tmp/f; echo two >> /tmp/f; cat < /tmp/f; wc -l < /tmp/f", output: "one\ntwo\n2\n"),
            Case(script: "cat /none 2>/dev/null; echo $?; cat /none 2>&1 | grep -c 'No such'", output: "1\n1\n"),
            Case(script: "cat /none &> /tmp/e; cat /tmp/e; echo x 1>&2", output: "cat: /none: No such file or directory\n", error: "x\n"),
            Case(script: "printf 'a 1\\nb 2\\n' | while read n v; do echo $v $n; done", output: "1 a\n2 b\n"),
            Case(script: "{ echo a; echo b; } > /tmp/g; while read l; do echo \"[$l]\"; done < /tmp/g", output: "[a]\n[b]\n"),
            Case(script: "cat /none 2>&1", output: "cat: /none: No such file or directory\n", status: 1),
            Case(script: "echo hi > /nope/x; echo after", output: "after\n", error: "sh: 1: cannot create /nope/x: Directory nonexistent\n"),
            Case(script: "s=$(printf '  HTTP/1.1 200 OK\\n  Server: x\\n' | awk '/^  HTTP/{print $2}'); [ $s -eq 200 ] && echo up", output: "up\n"),
            Case(
                script: "printf 'one\\ntwo\\nthree\\n' | grep -vn 'o$\\|e$'; printf 'Cat\\ncart\\n' | grep -ic 'ca.*t'; echo 10.0.0.1 | grep -oE '[0-9]+' | head -2",
                output: "2\n10\n0\n"),
            Case(script: "echo a:b:c | cut -d: -f2; echo abc | tr a-c A-C", output: "b\nABC\n"),
        ])
    func plumbing(_ item: Case) { check(item) }

    @Test(
        "errors in dash's words",
        arguments: [
            Case(script: "foo", output: "", error: "sh: 1: foo: not found\n", status: 127),
            Case(script: "echo \"a", output: "", error: "sh: 1: Syntax error: Unterminated quoted string\n", status: 2),
            Case(script: "for i in 1 2", output: "", error: "sh: 1: Syntax error: end of file unexpected\n", status: 2),
            Case(script: "if true; then echo", output: "", error: "sh: 1: Syntax error: end of file unexpected (expecting \"fi\")\n", status: 2),
            Case(script: "|x", output: "", error: "sh: 1: Syntax error: \"|\" unexpected\n", status: 2),
            Case(script: "echo a )", output: "", error: "sh: 1: Syntax error: \")\" unexpected\n", status: 2),
            Case(script: "done", output: "", error: "sh: 1: Syntax error: \"done\" unexpected\n", status: 2),
            Case(script: "echo $(", output: "", error: "sh: 1: Syntax error: end of file unexpected (expecting \")\")\n", status: 2),
            Case(script: "echo ${x", output: "", error: "sh: 1: Syntax error: Missing '}'\n", status: 2),
            Case(script: "a &&", output: "", error: "sh: 1: Syntax error: end of file unexpected\n", status: 2),
            Case(script: "cd /nowhere", output: "", error: "sh: 1: cd: can't cd to /nowhere\n", status: 2),
            Case(script: "[ 1 -eq a ]", output: "", error: "sh: 1: [: Illegal number: a\n", status: 2),
            Case(script: "set -u; echo $x", output: "", error: "sh: 1: x: parameter not set\n", status: 2),
            Case(script: "echo $((1/0))", output: "", error: "sh: 1: arithmetic expression: division by zero: \"1/0\"\n", status: 2),
        ])
    func errors(_ item: Case) { check(item) }

    @Test(
        "numbers beyond all measure end in a message or at a limit, never in a crash",
        arguments: [
            Case(script: "printf '%d\\n' -0x-8000000000000000", output: "0\n", error: "sh: 1: printf: -0x-8000000000000000: expected numeric value\n", status: 1),
            Case(script: "printf '%d %x %o\\n' -9223372036854775808 -1 8", output: "-9223372036854775808 ffffffffffffffff 10\n"),
            Case(script: "printf '%.2000000000f\\n' 1", output: "1.000000000000000000\n"),
            Case(script: "echo $((9223372036854775807 + 1)) $((1 << 64)); x=-9223372036854775808; echo $((x / -1)) $((x % -1))", output: "-9223372036854775808 1\n-9223372036854775808 0\n"),
            Case(script: "seq 1 100.5 2; seq 1 0.5 2; seq 9 1e300 9", output: "1.0\n1.0\n1.5\n2.0\n9\n"),
            Case(script: "printf 'b 1\\n' | sort -k 0", output: "", error: "sort: -: invalid field specification ‘0’\n", status: 2),
            Case(script: "printf 'b 1\\n' | sort -t ab", output: "", error: "sort: multi-character tab ‘ab’\n", status: 2),
            Case(script: "x=a; while true; do x=$x$x; done", output: "", error: "sh: 1: Out of space\n", status: 2),
            Case(script: "sleep 1e30; sleep -1", output: "", error: "sleep: invalid time interval '1e30'\nTry 'sleep --help' for more information.\nsleep: invalid time interval '-1'\nTry 'sleep --help' for more information.\n", status: 1),
        ])
    func hostileNumbers(_ item: Case) { check(item) }

    @Test(
        "durations beyond 73 years are for ever, shorter ones exact",
        arguments: [
            ("1.5m", 90_000_000_000), ("0.25", 250_000_000), ("200000000", 200_000_000_000_000_000), ("149999999d", Int64.max / 4), ("99999999999999999999999", Int64.max / 4),
            ("infinity", Int64.max / 4),
        ])
    func durations(text: String, nanoseconds: Int64) { #expect(parseDuration(text)?.nanoseconds == nanoseconds) }

    private func check(_ item: Case) {
        let kernel = TestKernel()
        let status = kernel.shell(item.script)
        #expect(kernel.output == item.output, "\(item.script)")
        #expect(kernel.errorOutput == item.error, "\(item.script)")
        #expect(status == item.status, "\(item.script)")
    }

    @Test("a busy loop lets time pass and can be killed")
    func busyLoop() {
        let kernel = TestKernel()
        #expect(kernel.shell("timeout 0.01 sh -c 'while true; do :; done'; echo $?") == 0)
        #expect(kernel.output == "124\n")
    }

    @Test("background jobs run beside the foreground and are killed by id")
    func background() {
        let kernel = TestKernel()
        #expect(kernel.shell("sleep 100 & kill $!; wait $!; echo $?") == 0)
        #expect(kernel.output == "143\n")
        #expect(kernel.now < .zero + .seconds(1))
    }

    @Test("sleep takes as long as it says, and commands their start-up time")
    func sleeping() {
        let kernel = TestKernel()
        kernel.shell("sleep 1.5; sleep 0.5")
        #expect(kernel.now == Instant.zero + (.seconds(2) + ProcessorTime.start(of: "sleep") * 2))
    }

    @Test("tail -f shows what is appended")
    func tailFollows() {
        let kernel = TestKernel()
        kernel.files["/var/log/x"] = Array("old\n".utf8)
        kernel.shell("timeout 3 tail -f /var/log/x & sleep 1; echo new >> /var/log/x; wait")
        #expect(kernel.output == "old\nnew\n")
    }

    @Test("no script crashes the parser")
    func garbage() {
        var random = SeededRandom(seed: 7, name: "shell")
        let pieces = [
            "if", "then", "fi", "for", "do", "done", "$(", ")", "`", "'", "\"", "${", "}", "((", "$((", "))", ";", ";;", "&&", "|", "&", "<", ">", "\n", " ", "x", "=",
            "case", "esac", "in", "{", "!", "\\", "#", "[", "a.b", "*", "${#", "%",
        ]
        for _ in 0..<3000 {
            let script = (0..<random.below(12)).map { _ in pieces[Int(random.below(UInt32(pieces.count)))] }.joined(separator: random.below(2) == 0 ? "" : " ")
            _ = try? ShellParser.parse(script)
        }
        #expect(throws: ShellSyntaxError.self) { try ShellParser.parse(String(repeating: "(", count: 5000)) }
        #expect(throws: ShellSyntaxError.self) { try ShellParser.parse(String(repeating: "${x:-", count: 5000)) }
    }
}
