#!/usr/bin/env bash
# A date without quotes makes a whole file unreadable for one of SOPS' decryptors.
#
# Package:   sops-age 4.0.2 (npm), which decrypts files of SOPS in JavaScript
# Input:     stringData: {owner: platform, renewed: 2026-01-01}, encrypted by sops 3.13.3
#            for an age recipient (the key is made for this script)
# Guess:     both values come back, the date as the text that it was
# Behaviour: SOPS encrypts a date as a value of type time. sops-age knows str, int,
#            float, bool and bytes: it gives none of the values and ends with an error.
#            With quotes around the date in the plaintext it works.
#            (sops itself decrypts the date to another text: 2026-01-01T00:00:00Z.)
# Output:    error: Error decoding base64: Invalid SOPS data type: time
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
npm init -y > /dev/null
npm install --silent --no-audit --no-fund sops-age@4.0.2 > /dev/null

cat > secret.yaml <<'EOF'
kind: Secret
stringData:
    owner: ENC[AES256_GCM,data:5zgzSQsLLtE=,iv:2xyzsRVGccqcS25RZDaSQZ1P1qnc4GVLIaxrd5jEehw=,tag:xMHWpw8VCK4XMxa+u39SHw==,type:str]
    renewed: ENC[AES256_GCM,data:Qch9uGxDtQ7zd81tRMAHQLP1mYU=,iv:FN2D2JjGgW5xQwvOrYpItOYmFPKj8f6El2+QVWVSZ3k=,tag:gnPeXkA5zKiT1MDbL51Z7w==,type:time]
sops:
    age:
        - enc: |
            -----BEGIN AGE ENCRYPTED FILE-----
            YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBOZVhXNkpGYU5KSjdEYnd1
            UTNlYlZ2N3ZUOFY5MDhWSUFOb3JOak14cDFBCjFlTWM0a1BxMnN4eGFjUWZPQ2FF
            MXBsd3duTVdSNlkrdndDMUNSYU1RdVUKLS0tIHNnS3FlVTZGdFJXWVovdzE0Myth
            a0NKVzZMMDd4eTFGUHZQazZ3cTh3UmMK5YkBHJ8hVeFmnqK9qQmAxn136OF0tCH7
            vqGYo32HnCNRZbU+cqJODHzGj2ccokumQ7cxxydYOhwM8YT7MonHNA==
            -----END AGE ENCRYPTED FILE-----
          recipient: age1h40t68lzfwvxz7j008e7t26rrx8h3huv9jhc9329dp5rk58kcutspagek0
    encrypted_regex: ^stringData$
    lastmodified: "2026-11-30T09:09:12Z"
    mac: ENC[AES256_GCM,data:sFs01IXfGToTwEgibykOuMCHcDAeBl8BxnSZV/UjwRJYdCbPwstNFiLFS2OJ62e3yfPBTDxlqm+TgFAIqmQOjPwfgAUWp5HvdZfBgCef8BbaqdRoLh5tohTDneVR/w990MNv6p7TrbW84FzH8kHaeysRxtUtvsSGiTUm4lPUJsg=,iv:esOKe220LK9k8riYFtWPOf5vYDPbUJuJLqS/VDgWrtU=,tag:sin+SB2pRfq+D95kEjyUgg==,type:str]
    version: 3.13.3
EOF
key=AGE-SECRET-KEY-1F8HKM03SWEPEM6GC5AYF8HQL3RTWEA5MGEAQ3FCQ0W9YD7YLY59S2RQA0N
cat > decrypt.mjs <<'EOF'
import { readFileSync } from 'node:fs';
import { decryptSops } from 'sops-age';
try {
  const document = readFileSync('secret.yaml', 'utf8');
  console.log(JSON.stringify(await decryptSops(document, { secretKey: process.env.KEY, fileType: 'yaml' })));
} catch (e) {
  console.log('error: ' + e.message.split('\n')[0]);
}
EOF
got=$(KEY=$key node decrypt.mjs)
want='error: Error decoding base64: Invalid SOPS data type: time'
echo "$got"
[ "$got" = "$want" ] || { echo "changed: expected $want" >&2; exit 1; }
