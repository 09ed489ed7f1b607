//! Fast CPU operators, registered as burn extensions for the Flex device.
//!
//! Flex computes the weight gradient of a convolution as a convolution whose kernel is as large as
//! the image, which took more than half of a training step. The operators here replace it where it
//! hurts; tensors of any other device go to burn's own operators.

mod conv;
mod im2col;

pub use conv::conv2d_same;
