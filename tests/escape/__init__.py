"""What the tests of the sandbox try to get out with: probes, the doors that they try, and who tries them."""
